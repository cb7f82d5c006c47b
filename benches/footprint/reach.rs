//! Binds its argument, and prints who can reach it.

fn main() -> Result<(), bindaddr::BindError> {
    let text = std::env::args().nth(1).unwrap_or_default();
    let listeners = bindaddr::bind(&*text)?;
    let host = bindaddr::Interfaces::system().unwrap_or_default();
    println!("{}", listeners.reach(&host));
    Ok(())
}
