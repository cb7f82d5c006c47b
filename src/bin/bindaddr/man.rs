//! `man`: the manual pages.

use std::fs;
use std::io;
use std::path::Path;

/// Returns the page of a command.
pub(crate) fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let name = command
        .get_display_name()
        .unwrap_or(command.get_name())
        .to_owned();
    let version = env!("CARGO_PKG_VERSION");
    let command = command.clone().name(name.clone()).version(version);
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .title(&name)
        .render(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    // clap_mangen gives the text after the help no title, and joins its lines.
    let page = match page.split_once(".SH EXTRA\nExamples:\n") {
        None => page.into_owned(),
        Some((before, after)) => {
            let (examples, after) = after.split_once("\n.SH").unwrap_or((after, ""));
            format!("{before}.SH EXAMPLES\n.nf\n{examples}\n.fi\n.SH{after}")
        }
    };
    Ok(page.into_bytes())
}

/// Writes the page of a command and those of its subcommands into a directory.
pub(crate) fn write_all(command: clap::Command, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    for each in std::iter::once(&command).chain(command.get_subcommands()) {
        let name = each.get_display_name().unwrap_or(each.get_name());
        fs::write(directory.join(format!("{name}.1")), page(each)?)?;
    }
    Ok(())
}
