//! The AGI protocol (res_agi.c): an environment block, then one command and its reply at a time.
//!
//! Everything read is hostile until parsed: a caller chooses part of it. Lines are bounded, bytes
//! need not be UTF-8, and end of file may come anywhere.

use std::fmt;
use std::io::{self, BufRead, Write};

use crate::text;

/// The longest line sent: Asterisk's buffer is 2048 bytes before 20.16 and 22.6.
const MAX_COMMAND: usize = 2000;
/// The longest line read. A variable is at most 4096 bytes after substitution, plus its frame.
const MAX_LINE: usize = 16 * 1024;
/// The most lines of an environment block or of one reply. Asterisk sends about 25 and an argument each.
const MAX_LINES: usize = 512;

/// Why a session cannot go on, or a command has no answer.
#[derive(Debug)]
pub enum AgiError {
    /// Asterisk has gone away.
    Closed,
    /// Reading or writing failed.
    Io(io::Error),
    /// What was read is not AGI, or is larger than any AGI.
    Protocol(&'static str),
    /// 510, 520: the command is unknown or its arguments are wrong.
    Refused(String),
    /// 511: the command is not allowed on a channel that has hung up.
    Dead,
    /// The command cannot be sent: too long, or it holds a byte that AGI cannot carry.
    Unsendable(&'static str),
}

impl fmt::Display for AgiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AgiError::Closed => f.write_str("Asterisk closed the AGI session"),
            AgiError::Io(e) => write!(f, "AGI: {e}"),
            AgiError::Protocol(what) => write!(f, "AGI: {what}"),
            AgiError::Refused(text) => write!(f, "AGI: command refused: {text}"),
            AgiError::Dead => f.write_str("AGI: command not allowed on a dead channel"),
            AgiError::Unsendable(why) => write!(f, "AGI: command cannot be sent: {why}"),
        }
    }
}

impl std::error::Error for AgiError {}

impl From<io::Error> for AgiError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                AgiError::Closed
            }
            _ => AgiError::Io(e),
        }
    }
}

/// The answer to a command that was carried out: `200 result=N (value)`.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// What stands behind `result=`, mostly a number.
    pub result: String,
    /// What stands between the first `(` and the last `)`, unescaped, of any encoding.
    pub value: Option<Vec<u8>>,
}

/// One conversation with Asterisk.
pub struct Session<R, W> {
    reader: R,
    writer: W,
    environment: Vec<(String, Vec<u8>)>,
}

impl<R: BufRead, W: Write> Session<R, W> {
    /// Reads the environment block.
    ///
    /// # Errors
    /// End of file before its empty line; lines that are too long or too many.
    pub fn start(mut reader: R, writer: W) -> Result<Self, AgiError> {
        let mut environment = Vec::new();
        for _ in 0..MAX_LINES {
            let line = read_line(&mut reader)?;
            if line.is_empty() {
                return Ok(Session { reader, writer, environment });
            }
            // A line without a colon is the rest of a value that held a newline: dropped.
            if let Some(colon) = line.iter().position(|&b| b == b':') {
                let value = &line[colon + 1..];
                let value = value.strip_prefix(b" ").unwrap_or(value);
                environment.push((String::from_utf8_lossy(&line[..colon]).into_owned(), value.to_vec()));
            }
        }
        Err(AgiError::Protocol("the environment block has no end"))
    }

    /// A variable of the environment block. The first of a name counts: what a caller smuggles in
    /// with a newline comes after `agi_uniqueid`.
    pub fn environment(&self, name: &str) -> Option<&[u8]> {
        self.environment.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_slice())
    }

    /// `agi_callerid` or `agi_calleridname`, decoded and cut to a column's length. Taken from the environment block,
    /// with its bytes as they are: as an argument of a dialplan function, a `)` in it would be taken for syntax.
    pub fn caller_id(&self, name: &str, max: usize) -> Option<String> {
        let text = text::decode(self.environment(name)?);
        // what Asterisk writes where there is none
        (!text.is_empty() && text != "unknown").then(|| text::truncate(&text, max).to_owned())
    }

    /// Evaluates a dialplan expression such as `${CHANNEL(linkedid)}`; None where it is unset.
    ///
    /// Wrap what a caller controls in `${URIENCODE()}`: AGI does not escape values.
    ///
    /// # Errors
    /// See [`AgiError`].
    pub fn evaluate(&mut self, expression: &str) -> Result<Option<Vec<u8>>, AgiError> {
        let reply = self.command(&["GET", "FULL", "VARIABLE"], &[expression])?;
        Ok(if reply.result == "1" { Some(reply.value.unwrap_or_default()) } else { None })
    }

    /// Sets channel variables in one exchange, through the dialplan function `ARRAY`.
    ///
    /// # Errors
    /// A name or value that holds a comma, quote, backslash or control character: `ARRAY` splits
    /// at commas. Otherwise see [`AgiError`].
    pub fn set_variables(&mut self, variables: &[(&str, &str)]) -> Result<(), AgiError> {
        let plain = |s: &str| s.bytes().all(|b| b.is_ascii_graphic() && !b",\"\\$".contains(&b));
        if !variables.iter().all(|(name, value)| plain(name) && plain(value)) {
            return Err(AgiError::Unsendable("a value that ARRAY() would split"));
        }
        let names: Vec<&str> = variables.iter().map(|v| v.0).collect();
        let values: Vec<&str> = variables.iter().map(|v| v.1).collect();
        self.command(&["SET", "VARIABLE"], &[&format!("ARRAY({})", names.join(",")), &values.join(",")])?;
        Ok(())
    }

    /// Sets one channel variable to a text of any content. Control characters are replaced, and what is
    /// too long for one line is cut.
    ///
    /// # Errors
    /// See [`AgiError`].
    pub fn set_text(&mut self, name: &str, text: &str) -> Result<(), AgiError> {
        self.command(&["SET", "VARIABLE"], &[name, &one_line(text)])?;
        Ok(())
    }

    /// Writes a line to Asterisk's log at a level that every installation keeps: `ERROR`, `WARNING`,
    /// `NOTICE`. For our own words: what the application's argument parser would take for syntax is
    /// replaced.
    ///
    /// # Errors
    /// See [`AgiError`].
    pub fn log(&mut self, level: &str, message: &str) -> Result<(), AgiError> {
        let plain = |c: char| if c.is_ascii_alphanumeric() || " ._:;/()+-=".contains(c) { c } else { ' ' };
        let line: String = message.chars().take(MAX_COMMAND - 100).map(plain).collect();
        self.command(&["EXEC", "Log"], &[&format!("{level},{line}")])?;
        Ok(())
    }

    /// Sends a command with quoted arguments and reads its reply.
    fn command(&mut self, words: &[&str], arguments: &[&str]) -> Result<Reply, AgiError> {
        let mut line = words.join(" ");
        for argument in arguments {
            if argument.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
                return Err(AgiError::Unsendable("an argument holds CR, LF or NUL"));
            }
            line.push_str(" \"");
            line.push_str(&escape(argument));
            line.push('"');
        }
        if line.len() > MAX_COMMAND {
            return Err(AgiError::Unsendable("it is longer than 2000 bytes"));
        }
        line.push('\n');
        self.writer.write_all(line.as_bytes())?;
        self.writer.flush()?;
        self.reply()
    }

    fn reply(&mut self) -> Result<Reply, AgiError> {
        for _ in 0..MAX_LINES {
            let line = read_line(&mut self.reader)?;
            match line.get(..4) {
                Some(b"200 ") => return self.success(line),
                Some(b"510 ") => return Err(AgiError::Refused(text::decode(&line[4..]))),
                Some(b"511 ") => return Err(AgiError::Dead),
                Some(b"520-") => return Err(self.usage(&line)),
                Some(b"520 ") => return Err(AgiError::Refused(text::decode(&line[4..]))),
                // HANGUP (FastAGI), 100 Trying, or the rest of an earlier value with a newline in it
                _ => {}
            }
        }
        Err(AgiError::Protocol("no reply among the lines read"))
    }

    /// `200 result=N`, `200 result=N (value)`, `200 result=N endpos=M`; a value may go over several lines.
    fn success(&mut self, mut line: Vec<u8>) -> Result<Reply, AgiError> {
        let open = line.windows(2).position(|w| w == b" (");
        if open.is_some() {
            let mut lines = 1;
            while line.last() != Some(&b')') {
                if lines == MAX_LINES || line.len() > MAX_LINE {
                    return Err(AgiError::Protocol("a value has no end"));
                }
                line.push(b'\n');
                line.extend(read_line(&mut self.reader)?);
                lines += 1;
            }
        }
        let head = &line[4..open.unwrap_or(line.len())];
        let Some(result) = head.strip_prefix(b"result=") else {
            return Err(AgiError::Protocol("a 200 reply without result="));
        };
        let result = result.split(|&b| b == b' ').next().unwrap_or_default();
        Ok(Reply { result: text::decode(result), value: open.map(|at| line[at + 2..line.len() - 1].to_vec()) })
    }

    /// `520-Invalid command syntax...` up to `520 End of proper usage.`
    fn usage(&mut self, first: &[u8]) -> AgiError {
        let message = text::decode(&first[4..]);
        for _ in 0..MAX_LINES {
            match read_line(&mut self.reader) {
                Ok(line) if line.starts_with(b"520 ") => return AgiError::Refused(message),
                Ok(_) => {}
                Err(e) => return e,
            }
        }
        AgiError::Protocol("a 520 reply has no end")
    }
}

/// Room for the words of a command and its other arguments.
const MAX_TEXT: usize = MAX_COMMAND - 40;

/// Whether a text is sent whole, as [`Session::set_text`] sends it.
fn fits(text: &str) -> bool {
    escape(text).len() <= MAX_TEXT
}

/// A text without control characters, cut to what one command can carry.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // an escape may double every byte
    while !fits(&line) {
        line = text::truncate(&line, line.chars().count() * 9 / 10).to_owned();
    }
    line
}

fn escape(argument: &str) -> String {
    argument.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A line without its end, at most [`MAX_LINE`] bytes of it.
fn read_line(reader: &mut impl BufRead) -> Result<Vec<u8>, AgiError> {
    let mut line = Vec::new();
    loop {
        let (used, done) = {
            let available = match reader.fill_buf() {
                Ok([]) => return Err(AgiError::Closed),
                Ok(available) => available,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e.into()),
            };
            match available.iter().position(|&b| b == b'\n') {
                Some(end) => {
                    line.extend_from_slice(&available[..end]);
                    (end + 1, true)
                }
                None => {
                    line.extend_from_slice(available);
                    (available.len(), false)
                }
            }
        };
        reader.consume(used);
        if line.len() > MAX_LINE {
            return Err(AgiError::Protocol("a line is too long"));
        }
        if done {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn session(input: &[u8]) -> Result<Session<Cursor<Vec<u8>>, Vec<u8>>, AgiError> {
        Session::start(Cursor::new(input.to_vec()), Vec::new())
    }

    fn evaluated(reply: &str) -> Result<Option<Vec<u8>>, AgiError> {
        session(format!("\n{reply}").as_bytes())?.evaluate("${X}")
    }

    #[test]
    fn the_environment_keeps_its_bytes_and_the_first_of_a_name() {
        let s = session(b"agi_uniqueid: 1.2\nagi_calleridname: Zo\xEB: x\nstray\nagi_uniqueid: forged\nagi_dnid:\n\n")
            .expect("valid");
        assert_eq!(s.environment("agi_uniqueid"), Some(b"1.2".as_slice()));
        assert_eq!(s.environment("agi_calleridname"), Some(b"Zo\xEB: x".as_slice()));
        assert_eq!(s.environment("agi_dnid"), Some(b"".as_slice()));
        assert_eq!(s.environment("agi_none"), None);
    }

    #[test]
    fn every_reply_form_is_understood() {
        assert_eq!(evaluated("200 result=0\n").expect("unset"), None);
        assert_eq!(evaluated("200 result=1 ()\n").expect("empty"), Some(vec![]));
        assert_eq!(evaluated("200 result=1 (a) b (c))\n").expect("nested"), Some(b"a) b (c)".to_vec()));
        assert_eq!(evaluated("200 result=1 (a\nb)\n").expect("two lines"), Some(b"a\nb".to_vec()));
        assert_eq!(evaluated("HANGUP\n200 result=1 (x)\n").expect("after HANGUP"), Some(b"x".to_vec()));
        assert!(matches!(evaluated("510 Invalid or unknown command\n"), Err(AgiError::Refused(_))));
        assert!(matches!(evaluated("511 Command Not Permitted on a dead channel\n"), Err(AgiError::Dead)));
        assert!(matches!(
            evaluated("520-Invalid command syntax.\nUsage: x\n520 End of proper usage.\n"),
            Err(AgiError::Refused(_))
        ));
        assert!(matches!(evaluated("200 result=1 (a\n"), Err(AgiError::Closed)));
        assert!(matches!(evaluated(""), Err(AgiError::Closed)));
    }

    #[test]
    fn after_a_value_with_a_newline_the_next_reply_is_found() {
        let mut s = session(b"\n200 result=1 (a)\nb)\n200 result=1 (next)\n").expect("valid");
        assert_eq!(s.evaluate("${X}").expect("first"), Some(b"a".to_vec()));
        assert_eq!(s.evaluate("${Y}").expect("second"), Some(b"next".to_vec()));
    }

    #[test]
    fn commands_are_quoted_and_bounded() {
        let mut s = session(b"\n200 result=1\n200 result=1\n").expect("valid");
        s.set_variables(&[("CC_STATUS", "proceed"), ("CAMPAIGN_ID", "7")]).expect("sent");
        s.set_text("X", "say \"hi\" \\ \r\nSET VARIABLE x y").expect("sent");
        assert_eq!(
            String::from_utf8_lossy(&s.writer),
            "SET VARIABLE \"ARRAY(CC_STATUS,CAMPAIGN_ID)\" \"proceed,7\"\n\
             SET VARIABLE \"X\" \"say \\\"hi\\\" \\\\   SET VARIABLE x y\"\n"
        );
        for value in ["a,b", "a\nb", "a\"b", "${X}", "é", "a b"] {
            assert!(matches!(s.set_variables(&[("A", value)]), Err(AgiError::Unsendable(_))), "{value}");
        }
        assert!(matches!(s.evaluate(&"x".repeat(2000)), Err(AgiError::Unsendable(_))));
    }

    #[test]
    fn input_without_end_is_refused() {
        assert!(matches!(session(&vec![b'x'; 10_000_000]), Err(AgiError::Protocol(_))));
        assert!(matches!(session(&b"a: b\n".repeat(100_000)), Err(AgiError::Protocol(_))));
        assert!(matches!(evaluated(&format!("200 result=1 ({}", "x\n".repeat(100_000))), Err(AgiError::Protocol(_))));
        assert!(matches!(evaluated(&"x\n".repeat(100_000)), Err(AgiError::Protocol(_))));
    }

    proptest! {
        #[test]
        fn whatever_asterisk_sends_nothing_panics(input: Vec<u8>, lines in proptest::collection::vec("(200 result=[01]( \\(.*\\))?|520-x|520 x|510 x|agi_[a-z]+: .*|)", 0..12)) {
            for bytes in [input, lines.join("\n").into_bytes()] {
                if let Ok(mut s) = session(&bytes) {
                    for _ in 0..4 {
                        let _ = s.evaluate("${X}");
                    }
                }
            }
        }

        #[test]
        fn a_message_of_any_content_is_one_line(message: String) {
            let mut s = session(b"\n200 result=1\n").expect("valid");
            s.set_text("X", &message).expect("sent");
            prop_assert!(s.writer.len() <= MAX_COMMAND);
            prop_assert_eq!(s.writer.iter().filter(|&&b| b == b'\n').count(), 1);
        }

        /// Asterisk takes the quotes off an argument as it is read here (main/utils.c, and parse_args of res_agi.c).
        #[test]
        fn a_text_of_any_content_arrives_in_its_variable(text in "(\\PC|[\\x00-\\x1f\"\\\\,$(){}&]){0,2500}") {
            let mut s = session(b"\n200 result=1\n").expect("valid");
            s.set_text("CC_PASSED_OVER", &text).expect("sent");
            let line = String::from_utf8(s.writer).expect("UTF-8");
            prop_assert!(line.len() <= MAX_COMMAND + 1);
            let quoted = line.strip_prefix("SET VARIABLE \"CC_PASSED_OVER\" \"").and_then(|l| l.strip_suffix("\"\n"));
            let (mut arrived, mut characters) = (String::new(), quoted.expect("quoted").chars());
            while let Some(c) = characters.next() {
                prop_assert!(!c.is_control() && c != '"', "{}", line);
                arrived.push(if c == '\\' { characters.next().expect("an escaped character") } else { c });
            }
            let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            prop_assert!(plain.starts_with(&arrived), "{}", line);
            prop_assert_eq!(arrived.len() == plain.len(), fits(&plain));
        }
    }
}
