//! The `listen` directives of nginx (`ngx_http_core_module`, `ngx_stream_core_module`).

use std::iter::Peekable;
use std::net::Ipv6Addr;
use std::str::Chars;

use super::{Directive, FileError, Meaning, NotChecked};

/// A word of a config, or a mark between words.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `;`, which ends a directive.
    End,
    Begin,
    Close,
}

/// A socket, with what decides on others.
struct Socket {
    directive: Directive,
    /// The address that nginx opens, if it is known.
    addr: Option<Addr>,
    /// Whether nginx opens it beside a wildcard that includes it.
    is_bound: bool,
    /// Whether `[::]` includes IPv4.
    is_dual: bool,
}

#[derive(Clone, Debug)]
struct Addr {
    host: Host,
    first: u16,
    last: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    AnyV4,
    AnyV6,
    V4(String),
    V6(String),
    Localhost,
}

/// A block that is open.
struct Block {
    name: String,
    line: usize,
    /// Whether it has the directive, or a file is included that may have it.
    has_listen: bool,
}

/// Returns the sockets, and the files that are included.
pub(super) fn directives(content: &str) -> Result<Vec<Directive>, FileError> {
    let mut sockets: Vec<Socket> = Vec::new();
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut blocks: Vec<Block> = Vec::new();
    for (line, token) in tokens(content)? {
        match token {
            Token::Word(word) => words.push((line, word)),
            Token::Begin => {
                let first = words.drain(..).next();
                let (line, name) = first.unwrap_or((line, String::new()));
                blocks.push(Block {
                    name,
                    line,
                    has_listen: false,
                });
            }
            Token::Close => {
                if let Some((line, _)) = words.drain(..).next() {
                    return Err(FileError::at(line, "a `;` is missing"));
                }
                let is_of_http =
                    |blocks: &[Block]| blocks.last().is_none_or(|block| block.name == "http");
                let ended = blocks.pop();
                let without = ended.filter(|block| block.name == "server" && !block.has_listen);
                let without = without.filter(|_| is_of_http(&blocks));
                sockets.extend(without.map(|block| server_without_listen(block.line)));
            }
            Token::End => {
                let mut directive = words.drain(..);
                match directive.next() {
                    Some((line, name)) if name == "listen" => {
                        let parameters: Vec<String> = directive.map(|(_, word)| word).collect();
                        if let Some(block) = blocks.last_mut() {
                            block.has_listen = true;
                        }
                        sockets.extend(listen(line, &parameters));
                    }
                    Some((line, name)) if name == "include" => {
                        let file = directive.next().map(|(_, file)| file).unwrap_or_default();
                        if let Some(block) = blocks.last_mut() {
                            block.has_listen |= !has_parameters(&file);
                        }
                        sockets.extend((!has_parameters(&file)).then(|| included(line, file)));
                    }
                    _ => {}
                }
            }
        }
    }
    let unfinished = words.first().map(|(line, _)| (*line, "a `;` is missing"));
    let open = || blocks.last().map(|block| (block.line, "a `}` is missing"));
    if let Some((line, what)) = unfinished.or_else(open) {
        return Err(FileError::at(line, what));
    }
    share_options(&mut sockets);
    serve_through_wildcards(&mut sockets);
    Ok(sockets.into_iter().map(|socket| socket.directive).collect())
}

/// Returns `true` for the files that come with nginx and listen nowhere.
fn has_parameters(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or_default();
    [
        "mime.types",
        "fastcgi.conf",
        "fastcgi_params",
        "proxy_params",
        "scgi_params",
        "uwsgi_params",
        "koi-utf",
        "koi-win",
        "win-utf",
    ]
    .contains(&name)
}

/// Returns `true` for the blocks of another language (lua-nginx-module).
fn is_lua(name: &str) -> bool {
    name.ends_with("_by_lua_block")
}

/// The options of a socket belong to its address, whichever server has them.
fn share_options(sockets: &mut [Socket]) {
    let is_any_v6 = |socket: &&Socket| {
        socket
            .addr
            .as_ref()
            .is_some_and(|addr| addr.host == Host::AnyV6)
    };
    let dual: Vec<u16> = sockets
        .iter()
        .filter(|socket| socket.is_dual)
        .filter(is_any_v6)
        .filter_map(|socket| Some(socket.addr.as_ref()?.first))
        .collect();
    for socket in sockets {
        let (Some(addr), Ok(means)) = (&socket.addr, &socket.directive.means) else {
            continue;
        };
        if addr.host == Host::AnyV6 && !socket.is_dual && dual.contains(&addr.first) {
            socket.directive.means = Ok(meaning(addr, means.udp, true));
            socket.is_dual = true;
        }
    }
}

fn included(line: usize, file: String) -> Socket {
    let why = "included files are not checked; pass them as arguments, too";
    not_opened(line, "include", file, NotChecked::Unread(why))
}

fn not_opened(line: usize, key: &'static str, written: String, why: NotChecked) -> Socket {
    Socket {
        directive: Directive {
            line,
            key,
            written,
            means: Err(why),
        },
        addr: None,
        is_bound: false,
        is_dual: false,
    }
}

/// Without a directive a server has port 80 of every IPv4 address; 8000 if nginx is not started by
/// root, which is not known.
fn server_without_listen(line: usize) -> Socket {
    let addr = Addr {
        host: Host::AnyV4,
        first: 80,
        last: 80,
    };
    Socket {
        directive: Directive {
            line,
            key: "server",
            written: "without `listen`".to_owned(),
            means: Ok(meaning(&addr, false, false)),
        },
        addr: Some(addr),
        is_bound: false,
        is_dual: false,
    }
}

fn listen(line: usize, parameters: &[String]) -> Option<Socket> {
    let (address, options) = parameters.split_first()?;
    let has = |option: &str| options.iter().any(|own| own == option);
    let addr = match addr(address) {
        Ok(addr) => addr,
        Err(why) => return Some(not_opened(line, "listen", address.clone(), why)),
    };
    // With one of these nginx calls bind(2) for the address, whatever wildcard there is.
    let is_bound = options.iter().any(|option| {
        let name = option.split('=').next().unwrap_or_default();
        [
            "bind",
            "setfib",
            "fastopen",
            "backlog",
            "rcvbuf",
            "sndbuf",
            "accept_filter",
            "deferred",
            "ipv6only",
            "reuseport",
            "so_keepalive",
        ]
        .contains(&name)
    });
    let is_dual = has("ipv6only=off") && addr.host == Host::AnyV6;
    let udp = has("udp") || has("quic");
    Some(Socket {
        directive: Directive {
            line,
            key: "listen",
            written: address.clone(),
            means: Ok(meaning(&addr, udp, is_dual)),
        },
        addr: Some(addr),
        is_bound,
        is_dual,
    })
}

const NOT_ONE: NotChecked =
    NotChecked::Wrong("nginx takes one address, with a port from 1 to 65535");

fn is_name(host: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    host.contains(|c: char| c.is_ascii_alphabetic()) && host.chars().all(is_of_name)
}

/// Reads the address of a directive.
fn addr(address: &str) -> Result<Addr, NotChecked> {
    if address.starts_with("unix:") {
        return Err(NotChecked::Skipped("a Unix socket, which is not checked"));
    }
    if address.contains('$') {
        let why = "a variable, whose value is not known here";
        return Err(NotChecked::Unread(why));
    }
    let is_port = address.starts_with(|c: char| c.is_ascii_digit())
        && address
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
    let (host, ports) = match address.rsplit_once(':') {
        _ if is_port => ("*", address),
        // Without a port it is 80.
        _ if address.ends_with(']') => (address, "80"),
        None => (address, "80"),
        Some((host, ports)) => (host, ports),
    };
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let port = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        return Err(NOT_ONE);
    };
    if first > last {
        return Err(NOT_ONE);
    }
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match in_brackets.map(str::parse::<Ipv6Addr>) {
        Some(Ok(ip)) if ip.is_unspecified() => Host::AnyV6,
        Some(Ok(ip)) => Host::V6(ip.to_string()),
        Some(Err(_)) => return Err(NotChecked::Wrong("nginx takes an IPv6 address in brackets")),
        None if host == "*" || host == "0.0.0.0" => Host::AnyV4,
        None if host == "localhost" => Host::Localhost,
        None if host.parse::<std::net::Ipv4Addr>().is_ok() => Host::V4(host.to_owned()),
        None if is_name(host) => {
            let why = "a name, which nginx looks up when it starts";
            return Err(NotChecked::Unread(why));
        }
        None => return Err(NOT_ONE),
    };
    Ok(Addr { host, first, last })
}

/// Returns what it is to this crate. nginx opens each port of a range.
fn meaning(addr: &Addr, udp: bool, is_dual: bool) -> Meaning {
    let host = match &addr.host {
        Host::AnyV4 => "0.0.0.0".to_owned(),
        Host::AnyV6 if is_dual => "[::]".to_owned(),
        // Since 1.3.4 a socket of IPv6 leaves out IPv4.
        Host::AnyV6 => "ipv6@*".to_owned(),
        Host::V4(ip) => ip.clone(),
        Host::V6(ip) => format!("[{ip}]"),
        Host::Localhost => "localhost".to_owned(),
    };
    let texts = (addr.first..=addr.last).map(|port| format!("{host}:{port}"));
    Meaning {
        text: texts.collect::<Vec<_>>().join(", "),
        udp,
        ..Meaning::default()
    }
}

/// Skips addresses that a wildcard includes: nginx opens one socket for all, and distinguishes
/// their connections itself.
fn serve_through_wildcards(sockets: &mut [Socket]) {
    let wildcards: Vec<(Host, u16, bool)> = sockets
        .iter()
        .filter_map(|socket| {
            let addr = socket.addr.as_ref()?;
            let is_wildcard = matches!(addr.host, Host::AnyV4 | Host::AnyV6);
            let udp = socket.directive.means.as_ref().is_ok_and(|means| means.udp);
            is_wildcard
                .then(|| (addr.first..=addr.last).map(move |port| (addr.host.clone(), port, udp)))
        })
        .flatten()
        .collect();
    for socket in sockets {
        let (Some(addr), Ok(means)) = (&socket.addr, &socket.directive.means) else {
            continue;
        };
        let has = |host: Host| wildcards.contains(&(host, addr.first, means.udp));
        let why = match addr.host {
            Host::AnyV6 if socket.is_dual && has(Host::AnyV4) => {
                NotChecked::Wrong("it includes IPv4, which another `listen` has on the same port")
            }
            Host::V4(_) if has(Host::AnyV4) => SERVED,
            Host::V6(_) if has(Host::AnyV6) => SERVED,
            Host::Localhost if has(Host::AnyV4) && has(Host::AnyV6) => SERVED,
            _ => continue,
        };
        if addr.first == addr.last && (!socket.is_bound || socket.is_dual) {
            socket.directive.means = Err(why);
        }
    }
}

const SERVED: NotChecked = NotChecked::Skipped("served by the wildcard on the same port");

fn tokens(content: &str) -> Result<Vec<(usize, Token)>, FileError> {
    let mut tokens: Vec<(usize, Token)> = Vec::new();
    let mut chars = content.chars().peekable();
    let mut line = 1;
    while let Some(first) = chars.peek().copied() {
        let begun = line;
        let token = match first {
            ';' => Token::End,
            '{' => {
                let of_directive = tokens
                    .iter()
                    .rev()
                    .take_while(|(_, token)| matches!(token, Token::Word(_)));
                let name = of_directive.last().map(|(_, token)| token);
                let has_lua = matches!(name, Some(Token::Word(name)) if is_lua(name));
                tokens.push((begun, Token::Begin));
                chars.next();
                if has_lua {
                    line += skip_lua(&mut chars)
                        .ok_or_else(|| FileError::at(begun, "a `}` is missing"))?;
                    tokens.push((line, Token::Close));
                }
                continue;
            }
            '}' => Token::Close,
            '#' => {
                while chars.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            c if c.is_whitespace() => {
                line += usize::from(c == '\n');
                chars.next();
                continue;
            }
            mark @ ('"' | '\'') => {
                chars.next();
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
                tokens.push((begun, Token::Word(word)));
                continue;
            }
            _ => {
                let mut word = String::new();
                let is_part = |c: &char| !c.is_whitespace() && !";{}".contains(*c);
                while let Some(c) = chars.next_if(is_part) {
                    word.push(c);
                    // It quotes the next character.
                    if c == '\\' {
                        word.extend(chars.next());
                    }
                    // `${name}` is part of a word.
                    if c == '$' && chars.next_if_eq(&'{').is_some() {
                        word.push('{');
                        word.extend(std::iter::from_fn(|| chars.next_if(|c| *c != '}')));
                        word.extend(chars.next());
                    }
                }
                tokens.push((begun, Token::Word(word)));
                continue;
            }
        };
        chars.next();
        tokens.push((begun, token));
    }
    Ok(tokens)
}

/// Skips a block of Lua with its `}` (Lua 5.1, section 2.1), and returns how many lines it has;
/// `None` if it has no end.
fn skip_lua(chars: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let (mut lines, mut depth) = (0, 1);
    while depth > 0 {
        match chars.next()? {
            '\n' => lines += 1,
            '{' => depth += 1,
            '}' => depth -= 1,
            mark @ ('"' | '\'') => loop {
                match chars.next()? {
                    '\\' => lines += usize::from(chars.next()? == '\n'),
                    c if c == mark => break,
                    _ => {}
                }
            },
            '[' => lines += skip_long_bracket(chars).unwrap_or(0),
            '-' if chars.next_if_eq(&'-').is_some() => {
                let is_long = chars.next_if_eq(&'[').is_some();
                match is_long.then(|| skip_long_bracket(chars)).flatten() {
                    Some(of_comment) => lines += of_comment,
                    None => while chars.next_if(|c| *c != '\n').is_some() {},
                }
            }
            _ => {}
        }
    }
    Some(lines)
}

/// Skips what follows the first `[` of `[[…]]` or `[=[…]=]`, and returns how many lines it has;
/// `None` if it is none.
fn skip_long_bracket(chars: &mut Peekable<Chars<'_>>) -> Option<usize> {
    let mut level = 0;
    while chars.next_if_eq(&'=').is_some() {
        level += 1;
    }
    chars.next_if_eq(&'[')?;
    let mut lines = 0;
    loop {
        match chars.next()? {
            '\n' => lines += 1,
            ']' => {
                let mut closing = 0;
                while chars.next_if_eq(&'=').is_some() {
                    closing += 1;
                }
                if closing == level && chars.next_if_eq(&']').is_some() {
                    return Some(lines);
                }
            }
            _ => {}
        }
    }
}
