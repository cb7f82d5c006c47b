//! The lines that a server prints once it listens: [`Banner`].

use std::fmt;

use super::{Origin, Reach, ReachableAddr, SHOWN, write_rest};

/// The addresses of a server as servers print them, from [`Reach::banner`].
///
/// A line has a label, a URL and, where the address is not this host's only, its interface. There
/// are ten lines at most and a count of the rest; `{:#}` has all of them. It is plain text, without
/// colours.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let host: Interfaces = [
///     Interface::new("lo", 1).with_addr("127.0.0.1".parse()?, 8),
///     Interface::new("eth0", 2)
///         .with_addr("192.168.71.67".parse()?, 16)
///         .with_addr("fe80::77".parse()?, 64),
/// ]
/// .into_iter()
/// .collect();
/// let reach = BindTarget::parse_with("*", &host)?.reach(5000, &host);
/// assert_eq!(
///     reach.banner("http").to_string(),
///     "  Local:    http://127.0.0.1:5000/\n  \
///        Network:  http://192.168.71.67:5000/  (eth0)\n  \
///        Link:     http://[fe80::77%25eth0]:5000/  (eth0; browsers do not open it)\n",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Banner<'a> {
    reach: &'a Reach,
    scheme: &'a str,
}

impl Reach {
    /// Writes the addresses as servers print them, as URLs of `scheme`.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host = Interfaces::system()?;
    /// let reach = BindTarget::parse_with("127.0.0.1", &host)?.reach(8080, &host);
    /// assert_eq!(reach.banner("http").to_string(), "  Local:    http://127.0.0.1:8080/\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn banner<'a>(&'a self, scheme: &'a str) -> Banner<'a> {
        Banner {
            reach: self,
            scheme,
        }
    }
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dials: Vec<&ReachableAddr> = self.reach.to_advertise().collect();
        let shown = if f.alternate() { usize::MAX } else { SHOWN };
        for dial in dials.iter().take(shown) {
            let label = match dial.origin() {
                Origin::ThisHost => "Local:",
                Origin::Network | Origin::Device => "Network:",
                Origin::Link => "Link:",
            };
            write!(f, "  {label:<8}  {}", dial.url(self.scheme))?;
            write_remark(f, dial, self.scheme)?;
            f.write_str("\n")?;
        }
        if dials.len() > shown {
            f.write_str("  ")?;
        }
        write_rest(f, dials.len().saturating_sub(shown))?;
        match self.reach.remark() {
            Some(remark) => writeln!(f, "  {remark}"),
            None => Ok(()),
        }
    }
}

fn write_remark(f: &mut fmt::Formatter<'_>, dial: &ReachableAddr, scheme: &str) -> fmt::Result {
    let name = dial
        .interface()
        .filter(|_| dial.origin() != Origin::ThisHost)
        .map(|name| name.escape_debug().to_string());
    let mut remarks: Vec<String> = name.into_iter().collect();
    remarks.extend(dial.oddities(Some(scheme)).map(str::to_owned));
    if remarks.is_empty() {
        return Ok(());
    }
    write!(f, "  ({})", remarks.join("; "))
}
