//! The `listen` directives of nginx (`ngx_http_core_module`, `ngx_stream_core_module`).

use super::{Directive, FileError, Meaning, NotChecked, is_conf};

/// A word of a config, or a mark between words.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `;`, which ends a directive.
    End,
    Begin,
    Close,
}

/// Returns the sockets, and the files that are included.
pub(super) fn directives(content: &str) -> Result<Vec<Directive>, FileError> {
    let mut directives = Vec::new();
    let mut words: Vec<(usize, String)> = Vec::new();
    for (line, token) in tokens(content)? {
        match token {
            Token::Word(word) => words.push((line, word)),
            Token::Begin | Token::Close => words.clear(),
            Token::End => {
                let mut directive = words.drain(..);
                match directive.next() {
                    Some((line, name)) if name == "listen" => {
                        let parameters: Vec<String> = directive.map(|(_, word)| word).collect();
                        directives.extend(listen(line, &parameters));
                    }
                    Some((line, name)) if name == "include" => {
                        let file = directive.next().map(|(_, file)| file).unwrap_or_default();
                        // Others, such as `mime.types`, have parameters.
                        let may_listen = file.contains('*') || is_conf(&file);
                        directives.extend(may_listen.then_some(Directive {
                            line,
                            key: "include",
                            written: file,
                            means: Err(NotChecked::Unread("it is not read; name it as well")),
                        }));
                    }
                    _ => {}
                }
            }
        }
    }
    serve_through_wildcards(&mut directives);
    Ok(directives)
}

fn listen(line: usize, parameters: &[String]) -> Option<Directive> {
    let (address, options) = parameters.split_first()?;
    let has = |option: &str| options.iter().any(|own| own == option);
    Some(Directive {
        line,
        key: "listen",
        written: address.clone(),
        means: meaning(address, has("udp"), has("ipv6only=off")),
    })
}

fn meaning(address: &str, udp: bool, is_dual: bool) -> Result<Meaning, NotChecked> {
    if address.starts_with("unix:") {
        return Err(NotChecked::Skipped("a Unix socket, which is not checked"));
    }
    if address.contains('$') {
        return Err(NotChecked::Unread(
            "a variable, whose value is not known here",
        ));
    }
    let is_port = address
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    // Without a port it is 80.
    let with_port = match address {
        _ if is_port => format!("*:{address}"),
        _ if address.ends_with(']') || !address.contains(':') => format!("{address}:80"),
        _ => address.to_owned(),
    };
    let text = match with_port.split_once("]:") {
        // Since 1.3.4 a socket of IPv6 leaves out IPv4.
        Some(("[::", port)) if !is_dual => format!("ipv6@*:{port}"),
        _ => match with_port.strip_prefix("*:") {
            Some(port) => format!("0.0.0.0:{port}"),
            None => with_port,
        },
    };
    Ok(Meaning {
        text,
        udp,
        ..Meaning::default()
    })
}

/// nginx opens one socket for a wildcard and the addresses that it includes, and tells their connections apart itself.
fn serve_through_wildcards(directives: &mut [Directive]) {
    let wildcards: Vec<(String, bool)> = directives
        .iter()
        .filter_map(|directive| {
            let means = directive.means.as_ref().ok()?;
            is_wildcard(&means.text).then(|| (means.text.clone(), means.udp))
        })
        .collect();
    for directive in directives {
        let Ok(means) = &directive.means else {
            continue;
        };
        let Some((_, port)) = means.text.rsplit_once(':') else {
            continue;
        };
        let ipv4 = format!("0.0.0.0:{port}");
        let ipv6 = format!("ipv6@*:{port}");
        // A name may stand for addresses of both families.
        let wanted = match means.text.chars().next() {
            Some('[') => vec![ipv6],
            Some(first) if first.is_ascii_digit() => vec![ipv4],
            _ => vec![ipv4, ipv6],
        };
        let mut wanted = wanted.into_iter();
        let is_served = wanted.all(|wildcard| wildcards.contains(&(wildcard, means.udp)));
        if !is_wildcard(&means.text) && is_served {
            let why = "served by the wildcard on the same port";
            directive.means = Err(NotChecked::Skipped(why));
        }
    }
}

fn is_wildcard(text: &str) -> bool {
    let starts = ["0.0.0.0:", "ipv6@*:"];
    starts.iter().any(|start| text.starts_with(start))
}

fn tokens(content: &str) -> Result<Vec<(usize, Token)>, FileError> {
    let mut tokens = Vec::new();
    let mut chars = content.chars().peekable();
    let mut line = 1;
    while let Some(first) = chars.next() {
        let begun = line;
        let token = match first {
            '\n' => {
                line += 1;
                continue;
            }
            c if c.is_whitespace() => continue,
            '#' => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            ';' => Token::End,
            '{' => Token::Begin,
            '}' => Token::Close,
            mark @ ('"' | '\'') => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        None => return Err(FileError::at(begun, "a quotation mark is missing")),
                        Some(c) if c == mark => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(c) => {
                            line += usize::from(c == '\n');
                            word.push(c);
                        }
                    }
                }
                Token::Word(word)
            }
            c => {
                let mut word = String::from(c);
                // `${name}` is part of a word.
                let is_part = |c: &char| !c.is_whitespace() && !";{}".contains(*c);
                while let Some(c) = chars.next_if(is_part) {
                    word.push(c);
                    if c == '$' && chars.next_if_eq(&'{').is_some() {
                        word.push('{');
                        word.extend(std::iter::from_fn(|| chars.next_if(|c| *c != '}')));
                        word.extend(chars.next());
                    }
                }
                Token::Word(word)
            }
        };
        tokens.push((begun, token));
    }
    Ok(tokens)
}
