//! Links the two programs that a call starts without libgcc_s: the little of it that they need is built in.
//!
//! Loading that library is a fifth of the cost of starting them. Half of that is its queries of the processor, which
//! a virtual machine answers slowly.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=bin/build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|is| is == value);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return;
    }
    // The linker finds this before the compiler's own library, and takes it instead.
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(folder.join("libgcc_s.so"), "GROUP ( -l:libgcc_eh.a -l:libgcc.a -lc )\n").expect("own folder");
    for program in ["cc-route", "cdr_logger"] {
        println!("cargo:rustc-link-arg-bin={program}=-L{}", folder.display());
    }
}
