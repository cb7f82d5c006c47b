//! Binds its argument.

fn main() -> Result<(), bindaddr::BindError> {
    let text = std::env::args().nth(1).unwrap_or_default();
    for listener in bindaddr::bind(&*text)? {
        println!("{}", listener.local_addr());
    }
    Ok(())
}
