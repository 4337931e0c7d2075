//! What Asterisk's console commands print, taken apart. It is text made for people, and part of it
//! comes from the database: what does not look as expected is left out, and nothing panics.

use std::collections::BTreeMap;

/// `core show version`: the major version.
#[must_use]
pub fn major_version(text: &str) -> Option<u32> {
    // "Asterisk 22.10.1 built by", "Asterisk certified-20.7-cert1 built by"
    let version = text.trim_start().strip_prefix("Asterisk ")?.split(" built by").next()?;
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A line of `core show settings`: `System name`, `PID file`, ...
#[must_use]
pub fn setting<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

/// `core show uptime seconds`: since the start, and since the last reload. Asterisk says nothing where its clock
/// was set back to before its start: 0.
#[must_use]
pub fn uptime(text: &str) -> Option<(u64, u64)> {
    if text.trim().is_empty() {
        return Some((0, 0));
    }
    Some((setting(text, "System uptime")?.parse().ok()?, setting(text, "Last reload")?.parse().ok()?))
}

/// `core show channels count`: how many there are.
#[must_use]
pub fn channel_count(text: &str) -> Option<usize> {
    let line = text.lines().find(|line| line.contains(" active channel"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `core show channels concise`: their unique ids. What stands before the last `!` may be a caller's words.
#[must_use]
pub fn channels(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| Some(line.rsplit_once('!')?.1.trim().to_owned())).collect()
}

/// `logger show channels`: whether a file or syslog keeps errors.
#[must_use]
pub fn keeps_errors(text: &str) -> bool {
    // /var/log/asterisk/messages.log  File  default  Enabled  - NOTICE WARNING ERROR
    text.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has = |word: &str| words.contains(&word);
        (has("File") || has("Syslog")) && has("Enabled") && has("ERROR")
    })
}

/// `module show`: the modules that run.
#[must_use]
pub fn running_modules(text: &str) -> Vec<&str> {
    let running = text.lines().filter(|line| line.contains(" Running ") && !line.contains(" Not Running "));
    running.filter_map(|line| line.split_whitespace().next()).filter(|name| name.ends_with(".so")).collect()
}

/// `dialplan show CONTEXT`: the steps of the context, such as `Hangup(21)`, in alphabetical order; only those from a
/// file of this name. None where there is no such context.
#[must_use]
pub fn dialplan(text: &str, file: &str) -> Option<Vec<String>> {
    if !text.contains("[ Context '") {
        return None;
    }
    let of_file = format!("[{file}:");
    let mut steps: Vec<String> = text
        .lines()
        .filter_map(|line| {
            let (step, source) = line.rsplit_once(" [")?;
            if !format!("[{source}").starts_with(&of_file) {
                return None;
            }
            let (priority, step) = step.split_once(". ")?;
            priority.ends_with(|c: char| c.is_ascii_digit()).then(|| step.trim().to_owned())
        })
        .collect();
    steps.sort();
    Some(steps)
}

/// The contexts of a dialplan file, each with what [`dialplan`] would say of it.
#[must_use]
pub fn dialplan_file(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut contexts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(';')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            current = (name.0 != "globals" && name.0 != "general").then(|| name.0.to_owned());
            if let Some(name) = &current {
                contexts.entry(name.clone()).or_default();
            }
            continue;
        }
        let Some((kind, rest)) = line.split_once("=>") else { continue };
        // exten => NAME,PRIORITY,STEP and same => PRIORITY,STEP
        let step = match kind.trim() {
            "exten" => rest.splitn(3, ',').nth(2),
            "same" => rest.split_once(',').map(|(_, step)| step),
            _ => None,
        };
        if let (Some(context), Some(step)) = (&current, step) {
            contexts.entry(context.clone()).or_default().push(step.trim().to_owned());
        }
    }
    contexts.values_mut().for_each(|steps| steps.sort());
    contexts
}

/// A line of `pjsip show transports`.
#[derive(Debug, PartialEq, Eq)]
pub struct Transport<'a> {
    /// The name.
    pub id: &'a str,
    /// `udp`, `tcp`, `tls`, ...
    pub protocol: &'a str,
    /// Address and port.
    pub bind: &'a str,
}

/// `pjsip show transports`
#[must_use]
pub fn transports(text: &str) -> Vec<Transport<'_>> {
    labelled(text, "Transport:")
        .filter_map(|rest| {
            let mut words = rest.split_whitespace();
            Some(Transport { id: words.next()?, protocol: words.next()?, bind: words.next_back()? })
        })
        .collect()
}

/// `pjsip show identifies`: the endpoints that addresses stand for, each with its addresses.
#[must_use]
pub fn identified(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let value = |label| labelled(line, label).next().map(str::trim);
        if let Some((_, endpoint)) = value("Identify:").and_then(|rest| rest.split_once('/')) {
            found.push((endpoint, Vec::new()));
        } else if let (Some(address), Some((_, addresses))) = (value("Match:"), found.last_mut()) {
            addresses.push(address);
        }
    }
    found
}

/// `pjsip show endpoints` and `pjsip show auths`: their names; `label` is `Endpoint:` or `Auth:`.
#[must_use]
pub fn names<'a>(text: &'a str, label: &'a str) -> Vec<&'a str> {
    // NAME or NAME/CALLER ID
    labelled(text, label).filter_map(|rest| rest.trim_start().split(['/', ' ']).next()).collect()
}

/// A line of `pjsip show contacts`.
#[derive(Debug, PartialEq)]
pub struct Contact<'a> {
    /// The AOR that it belongs to.
    pub aor: &'a str,
    /// `Avail`, `Unavail`, `NonQual`, ...
    pub status: &'a str,
    /// How many milliseconds its last answer took.
    pub rtt_ms: Option<f64>,
}

/// `pjsip show contacts`
#[must_use]
pub fn contacts(text: &str) -> Vec<Contact<'_>> {
    labelled(text, "Contact:")
        .filter_map(|rest| {
            let (aor, rest) = rest.trim_start().split_once('/')?;
            let mut words = rest.split_whitespace();
            // `-nan` where there was no answer
            let rtt_ms = words.next_back()?.parse().ok().filter(|ms: &f64| ms.is_finite());
            Some(Contact { aor, status: words.next_back()?, rtt_ms })
        })
        .collect()
}

/// `core show codecs`: all names by which a codec may be allowed.
#[must_use]
pub fn codecs(text: &str) -> Vec<&str> {
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|words| words.first().is_some_and(|id| id.parse::<u32>().is_ok()))
        .flat_map(|words| [words.get(2).copied(), words.get(3).copied()])
        .flatten()
        .collect()
}

/// What follows a label at the beginning of a line; the heading with `<...>` is left out.
fn labelled<'a>(text: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
    let rest = text.lines().filter_map(move |line| line.trim_start().strip_prefix(label));
    rest.filter(|rest| !rest.trim_start().starts_with('<'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // all of these are what Asterisk 22.10 printed
    const CONTACTS: &str = "
  Contact:  <Aor/ContactUri..............................> <Hash....> <Status> <RTT(ms)..>
==========================================================================================

  Contact:  client1-1/sip:127.0.0.1:9                      344e588cfb Unavail        -nan
  Contact:  client1-2/sip:127.0.0.1;transport=tcp          eecf362c50 NonQual        -nan
  Contact:  client1-3/sip:127.0.0.1:43921                  81bc542e88 Avail         0.748

Objects found: 3
";
    const ENDPOINTS: &str = "
 Endpoint:  <Endpoint/CID.....................................>  <State.....>  <Channels.>
    I/OAuth:  <AuthId/UserName...........................................................>
  Transport:  <TransportId........>  <Type>  <cos>  <tos>  <BindAddress..................>
==========================================================================================

 Endpoint:  carrier                                              Unavailable   0 of inf
   Identify:  carrier/carrier
        Match: 127.0.0.2/32

 Endpoint:  client1-2/123                                        Unavailable   0 of inf
        Aor:  client1-2                                          1
      Contact:  client1-2/sip:127.0.0.1;transport=tcp      eecf362c50 NonQual        -nan


Objects found: 2
";
    const TRANSPORTS: &str = "
Transport:  <TransportId........>  <Type>  <cos>  <tos>  <BindAddress....................>
==========================================================================================

Transport:  transport-tcp             tcp      0      0  127.0.0.1:34943
Transport:  transport-udp             udp      0      0  127.0.0.1:34943

Objects found: 2
";
    const MODULES: &str = "
Module                         Description                              Use Count  Status      Support Level
acl                            Named ACL system                         2          Running              core
app_dial.so                    Dialing Application                      0          Running              core
func_cdr.so                    Call Detail Record (CDR) dialplan functi 0          Not Running          core
res_pjsip_endpoint_identifier_ip.so PJSIP IP endpoint identifier             0          Running              core
4 modules loaded
";
    const DIALPLAN: &str = "
[ Context 'capconduit' created by 'pbx_config' ]
  'h' =>            1. Gosub(cc-hangup,s,1)                       [extensions.conf:47]
  's' =>            1. NoOp()                                     [extensions.conf:22]
                    2. ExecIf($[\"${CC_EARLY_ANSWER}\" = \"yes\"]?Answer(,i)) [extensions.conf:26]
     [attempt]      3. Set(CC_STATUS=)                            [extensions.conf:27]
  'x' =>            1. NoOp(more)                                 [extensions_local.conf:2]

-= 2 extensions (4 priorities) in 1 context. =-
";
    const CODECS: &str = "
Disclaimer: this command is for informational purposes only.
      ID TYPE  NAME         FORMAT           QUALITY DESCRIPTION
------------------------------------------------------------------------------------------------
       6 audio alaw         alaw                 100 (G.711 a-law)
      23 audio speex        speex16               40 (SpeeX 16khz)
";

    #[test]
    fn versions() {
        let of = major_version;
        assert_eq!(of("Asterisk 22.10.1+dfsg+~cs6.17.60671434-1 built by nobody @ buildd.debian.org on a"), Some(22));
        assert_eq!(of("\nAsterisk certified-20.7-cert1 built by x"), Some(20));
        assert_eq!(of("Asterisk GIT-master-abc built by x"), None);
    }

    #[test]
    fn a_caller_s_words_are_no_unique_id() {
        let text = "PJSIP/carrier-00000001!from-pstn!s!5!Up!AGI!a!b!!3!12!!node1-1763.4\n\
                    PJSIP/acme-00000002!from-client!s!1!Up!AppDial!(Outgoing Line)!!!3!11!f2!node1-1763.5\n";
        assert_eq!(channels(text), ["node1-1763.4", "node1-1763.5"]);
        assert_eq!(channels(""), [""; 0]);
        assert_eq!(channel_count("2 active channels\n1 active call\n4 calls processed\n"), Some(2));
        assert_eq!(channel_count("1 active channel\n"), Some(1));
        assert_eq!(channel_count("No such command"), None);
    }

    #[test]
    fn what_the_server_has() {
        assert_eq!(uptime("System uptime: 6\nLast reload: 0\n"), Some((6, 0)));
        assert_eq!((uptime("\n"), uptime("No such command 'core show uptime seconds'")), (Some((0, 0)), None));
        assert_eq!(setting("  System name:                 chk\n", "System name"), Some("chk"));
        assert_eq!(running_modules(MODULES), ["app_dial.so", "res_pjsip_endpoint_identifier_ip.so"]);
        assert_eq!(names(ENDPOINTS, "Endpoint:"), ["carrier", "client1-2"]);
        assert_eq!(identified(ENDPOINTS), [("carrier", vec!["127.0.0.2/32"])]);
        assert_eq!(codecs(CODECS), ["alaw", "alaw", "speex", "speex16"]);
        let bind = "127.0.0.1:34943";
        let expected =
            [("transport-tcp", "tcp"), ("transport-udp", "udp")].map(|(id, protocol)| Transport { id, protocol, bind });
        assert_eq!(transports(TRANSPORTS), expected);
        let expected =
            [("client1-1", "Unavail", None), ("client1-2", "NonQual", None), ("client1-3", "Avail", Some(0.748))];
        assert_eq!(contacts(CONTACTS), expected.map(|(aor, status, rtt_ms)| Contact { aor, status, rtt_ms }));
    }

    #[test]
    fn the_dialplan_of_our_file() {
        let expected = [
            "ExecIf($[\"${CC_EARLY_ANSWER}\" = \"yes\"]?Answer(,i))",
            "Gosub(cc-hangup,s,1)",
            "NoOp()",
            "Set(CC_STATUS=)",
        ];
        assert_eq!(dialplan(DIALPLAN, "extensions.conf").expect("a context"), expected);
        assert_eq!(dialplan("There is no existence of 'nope' context\n", "extensions.conf"), None);
        let file = "[globals]\nA=b\n[capconduit]\nexten => s,1,NoOp()\n; exten => s,1,No()\n same => n,ExecIf($[\"${CC_EARLY_ANSWER}\" = \"yes\"]?Answer(,i))\n\
                    same => n(attempt),Set(CC_STATUS=)\nexten => h,1,Gosub(cc-hangup,s,1)\n#tryinclude \"x\"\n";
        let contexts = dialplan_file(file);
        assert_eq!(contexts.len(), 1);
        assert_eq!(contexts["capconduit"], expected);
    }

    proptest! {
        #[test]
        fn whatever_is_printed_nothing_panics(text in "(Asterisk |built by|Endpoint:|Contact:|Transport:|Identify:|\\[ Context '|\\[extensions.conf:|exten|same|=>|\\. | Running |[0-9]{1,12}|[/ ,:<>\\[\\]]|\n|\\PC){0,60}") {
            let _ = (major_version(&text), uptime(&text), setting(&text, ""), running_modules(&text), codecs(&text));
            let _ = (dialplan(&text, "extensions.conf"), dialplan_file(&text));
            let _ = (transports(&text), identified(&text), names(&text, "Endpoint:"), contacts(&text));
        }
    }
}
