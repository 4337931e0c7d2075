//! `capconduit completion`: the Tab key in a real bash.

use std::process::Command;

use crate::harness::process;
use crate::harness::program;

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    let script = r#"
        program=$1; shift
        source <("$program" completion bash) || exit 1
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        read -r _ function _ < <(complete -p capconduit | sed 's/.* -F/-F/')
        "$function" capconduit "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", script, "bash"]).arg(program("capconduit")).args(words);
    let mut words: Vec<String> = process::run(&mut bash).lines().map(str::to_owned).collect();
    words.sort();
    words
}

#[test]
fn bash_completes_nouns_verbs_options_and_values() {
    assert_eq!(offered(&["capconduit", "cam"]), ["campaign"]);
    assert_eq!(offered(&["capconduit", "client", "s"]), ["set", "show"]);
    assert_eq!(offered(&["capconduit", "setting", "add", "--max-c"]), ["--max-concurrency"]);
    assert_eq!(
        offered(&["capconduit", "campaign", "add", "--routing-strategy", ""]),
        ["priority", "round_robin", "weighted"]
    );
}

#[test]
fn each_shell_gets_a_script_of_its_own_without_a_configuration() {
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef capconduit"), ("fish", "complete -c capconduit")] {
        let mut command = Command::new(program("capconduit"));
        // whoever may not read the env file completes all the same
        command.env("CAPCONDUIT_ENV_FILE", "/nonexistent").args(["completion", shell]);
        let script = process::run(&mut command);
        assert!(script.contains(mark) && script.contains("campaign"), "{shell}: {script}");
    }
}
