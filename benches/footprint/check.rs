//! Checks its argument, and binds it.

fn main() -> Result<(), bindaddr::BindError> {
    let text = std::env::args().nth(1).unwrap_or_default();
    for setting in bindaddr::check(&*text).settings() {
        println!("{setting:?}");
    }
    for listener in bindaddr::bind(&*text)? {
        println!("{}", listener.local_addr());
    }
    Ok(())
}
