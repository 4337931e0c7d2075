//! `capconduit completion`: what the Tab key knows of this program.

use clap::{Args, Command, ValueEnum};
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};

use crate::cli::output::Output;

/// `completion`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(capconduit completion bash)
  capconduit completion zsh >/usr/local/share/zsh/site-functions/_capconduit
  capconduit completion fish >~/.config/fish/completions/capconduit.fish")]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    pub(crate) fn run(self, mut command: Command) -> Output {
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        match self.shell {
            Shell::Bash => generate(Bash, &mut command, name, &mut script),
            Shell::Zsh => generate(Zsh, &mut command, name, &mut script),
            Shell::Fish => generate(Fish, &mut command, name, &mut script),
        }
        Output::Text(String::from_utf8_lossy(&script).into_owned())
    }
}
