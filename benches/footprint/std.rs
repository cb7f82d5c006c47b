//! Binds its argument by the standard library: the program that the others are compared with.

fn main() -> std::io::Result<()> {
    let text = std::env::args().nth(1).unwrap_or_default();
    println!("{}", std::net::TcpListener::bind(text)?.local_addr()?);
    Ok(())
}
