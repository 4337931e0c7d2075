//! `capconduit asterisk`: the files that an Asterisk server needs, and whether it works with them.

mod check;
mod install;

verbs! {
    /// The verbs of `asterisk`.
    enum Verb {
        /// Write Asterisk's configuration, the dialplan and the two AGI programs
        Install(install::Install),
        /// Look at everything that calls need on this server: files, Asterisk, clients, database, spool
        Check(check::Check),
    }
}
