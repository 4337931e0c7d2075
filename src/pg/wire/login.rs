//! Logging in: the greeting, the password, and whether the server is of the wanted kind.

use std::io;

use bytes::BytesMut;
use postgres::config::{ChannelBinding, TargetSessionAttrs};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use postgres_protocol::message::frontend;

use crate::pg::settings::Settings;
use crate::pg::wire::Connection;
use crate::pg::wire::failure::Failure;

impl Connection {
    pub(super) fn log_in(&mut self, settings: &Settings) -> Result<(), Failure> {
        let user = match settings.get_user() {
            Some(user) => user.to_owned(),
            None => whoami::username().map_err(|e| Failure::Io(io::Error::other(e)))?,
        };
        let mut parameters = vec![("client_encoding", "UTF8"), ("user", &user)];
        let named = [
            ("database", settings.get_dbname()),
            ("options", settings.get_options()),
            ("application_name", settings.get_application_name()),
        ];
        parameters.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let mut greeting = BytesMut::new();
        frontend::startup_message(parameters, &mut greeting)?;
        self.send(&greeting)?;

        let password = || {
            settings.get_password().ok_or_else(|| Failure::Other("invalid configuration: password missing".to_owned()))
        };
        let unbound = || Failure::Other("channel binding is required, and needs SCRAM and TLS".to_owned());
        let wanted = settings.get_channel_binding();
        let (mut scram, mut is_bound, mut is_proven) = (None, false, false);
        let unexpected = || Failure::Other("unexpected message".to_owned());
        loop {
            let mut answer = BytesMut::new();
            match self.receive()? {
                (b'R', mut body) => match body.int()? {
                    // AuthenticationOk
                    0 if is_proven && is_bound || wanted != ChannelBinding::Require => {}
                    0 | 3 | 5 if wanted == ChannelBinding::Require => return Err(unbound()),
                    // AuthenticationCleartextPassword
                    3 => frontend::password_message(password()?, &mut answer)?,
                    // AuthenticationMD5Password
                    5 => {
                        let salt = body.rest().try_into().map_err(|_| unexpected())?;
                        frontend::password_message(
                            md5_hash(user.as_bytes(), password()?, salt).as_bytes(),
                            &mut answer,
                        )?;
                    }
                    // AuthenticationSASL: the mechanisms, each with a zero
                    10 => {
                        let offered = String::from_utf8_lossy(body.rest()).into_owned();
                        let is_offered = |mechanism: &str| offered.split('\0').any(|name| name == mechanism);
                        let end_point = self.stream.end_point().filter(|_| wanted != ChannelBinding::Disable);
                        is_bound = end_point.is_some() && is_offered(SCRAM_SHA_256_PLUS);
                        let (mechanism, binding) = match end_point {
                            Some(data) if is_bound => {
                                (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(data))
                            }
                            Some(_) => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
                            None => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
                        };
                        if wanted == ChannelBinding::Require && !is_bound {
                            return Err(unbound());
                        }
                        if !is_offered(mechanism) {
                            return Err(Failure::Other("unsupported authentication method".to_owned()));
                        }
                        let begun = ScramSha256::new(password()?, binding);
                        frontend::sasl_initial_response(mechanism, begun.message(), &mut answer)?;
                        scram = Some(begun);
                    }
                    // AuthenticationSASLContinue
                    11 => {
                        let scram = scram.as_mut().ok_or_else(unexpected)?;
                        scram.update(body.rest())?;
                        frontend::sasl_response(scram.message(), &mut answer)?;
                    }
                    // AuthenticationSASLFinal
                    12 => {
                        scram.as_mut().ok_or_else(unexpected)?.finish(body.rest())?;
                        is_proven = true;
                    }
                    _ => return Err(Failure::Other("unsupported authentication method".to_owned())),
                },
                (b'E', body) => return Err(Failure::of(body)),
                (b'K', mut body) => self.process = body.int()?,
                (b'Z', _) => return Ok(()),
                _ => {}
            }
            if !answer.is_empty() {
                self.send(&answer)?;
            }
        }
    }

    /// Refuses a standby where a primary is wanted, and the other way round.
    pub(super) fn check_role(&mut self, wanted: TargetSessionAttrs) -> Result<(), Failure> {
        if wanted == TargetSessionAttrs::Any {
            return Ok(());
        }
        let row = self.ask("SELECT current_setting('transaction_read_only') = 'on'", &[])?;
        let read_only: bool =
            row.as_ref().and_then(|row| row.decode(0).ok()).ok_or_else(|| Failure::Other("no answer".to_owned()))?;
        match wanted {
            TargetSessionAttrs::ReadWrite if read_only => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "database does not allow writes").into())
            }
            TargetSessionAttrs::ReadOnly if !read_only => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, "database is not read only").into())
            }
            _ => Ok(()),
        }
    }
}
