//! Certificates for encrypted connections, made by openssl.

use std::path::Path;
use std::process::Command;

use super::process;

/// A certificate for `name`, signed by another or by itself, as `FILE.pem` with its key `FILE.key`.
pub fn certificate(folder: &Path, file: &str, name: &str, signer: Option<&str>, more: &[&str]) {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(folder).args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    openssl.args(["-days", "2", "-subj", &format!("/CN={name}"), "-keyout", &format!("{file}.key")]);
    openssl.args(["-out", &format!("{file}.pem")]);
    if let Some(signer) = signer {
        openssl.args(["-CA", &format!("{signer}.pem"), "-CAkey", &format!("{signer}.key")]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    }
    openssl.args(more);
    process::run(&mut openssl);
    process::run(Command::new("chmod").current_dir(folder).args(["600", &format!("{file}.key")]));
}
