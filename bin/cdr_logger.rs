//! Installed as cdr_logger.agi: spawned by Asterisk at hangup.

fn main() -> std::process::ExitCode {
    capconduit::agi::cdr_logger::main()
}
