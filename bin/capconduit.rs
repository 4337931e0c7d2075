//! The admin CLI.

fn main() -> std::process::ExitCode {
    capconduit::cli::main()
}
