//! `cargo run --example manual`: writes the manual's generated pages to `man/`.

mod pages;
mod roff;

use std::path::Path;

fn main() -> std::io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for (name, text) in pages::all() {
        std::fs::write(dir.join(name), text)?;
    }
    Ok(())
}
