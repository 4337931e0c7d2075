//! Env files of any editor, and database URLs as libpq has them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::postgres::{Database, Postgres};

/// What the CLI says with this env file and nothing else: code, output, errors.
fn with_file(database: &Database, text: &str) -> (i32, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("capconduit.env");
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("own file");
    let mut command = database.command();
    command.env_remove("DATABASE_URL").env("CAPCONDUIT_ENV_FILE", &file).args(["user", "list", "--json"]);
    let output = command.output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), said)
}

#[test]
fn the_first_line_of_any_editor_s_file_is_read() {
    let database = Postgres::shared().database();
    let url = &database.url;
    for (begin, end) in [("", "\n"), ("\u{feff}", "\n"), ("\u{feff}", "\r\n"), ("\u{feff}# ours\r\n", "\r\n")] {
        for line in
            [format!("DATABASE_URL={url}"), format!("export DATABASE_URL='{url}'"), format!("DATABASE_URL=\"{url}\"")]
        {
            let text = format!("{begin}{line}{end}CAPCONDUIT_CONNECT_TIMEOUT=5{end}");
            assert_eq!(with_file(&database, &text), (0, "[]\n".to_owned()), "{text:?}");
        }
    }
}

#[test]
fn a_url_is_libpq_s_and_says_what_it_cannot_have() {
    let database = Postgres::shared().database();
    let url = &database.url;
    for accepted in [
        "target_session_attrs=primary",
        "target_session_attrs=any",
        "sslmode=allow",
        "keepalives_count=3",
        "gssencmode=disable",
    ] {
        let file = format!("DATABASE_URL='{url}?{accepted}'\n");
        assert_eq!(with_file(&database, &file), (0, "[]\n".to_owned()), "{accepted}");
    }
    for (refused, says) in [
        ("target_session_attrs=prefer-standby", "Write primary or read-write"),
        ("target_session_attrs=master", "There are: any, read-write, read-only, primary, standby"),
        ("sslcrl=/etc/ssl/crl.pem", "encrypted with TLS"),
        ("passfile=/root/.pgpass", "Password files are not read"),
        ("service=main", "Service files are not read"),
        ("load_balance_hosts=random", "tried in their order"),
    ] {
        let (code, said) = with_file(&database, &format!("DATABASE_URL='{url}?{refused}'\n"));
        let name = refused.split('=').next().expect("a name");
        assert_eq!(code, 5, "{refused}: {said}");
        assert!(
            said.contains(says) && said.contains(name) && !said.contains("special characters"),
            "{refused}: {said}"
        );
    }
    // a standby is refused where the primary is wanted
    database.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name));
    let (code, said) = with_file(&database, &format!("DATABASE_URL='{url}?target_session_attrs=primary'\n"));
    assert!(code == 75 && said.contains("does not allow writes"), "{code}: {said}");
    assert_eq!(with_file(&database, &format!("DATABASE_URL='{url}?target_session_attrs=standby'\n")).0, 0);
}
