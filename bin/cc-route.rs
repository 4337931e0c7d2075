//! Installed as cc-route.agi: spawned by Asterisk for each routing attempt.

fn main() -> std::process::ExitCode {
    capconduit::agi::cc_route::main()
}
