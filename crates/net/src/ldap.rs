//! A directory (LDAP, RFC 4511), asked whether a password is somebody's, and which groups they are in.
//!
//! Whatever a caller sends is escaped: in names by RFC 4514, in filters by RFC 4515.

use crate::fetch::{Fetcher, Tls};
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, LdapError, LdapResult, Scope, SearchEntry, StdStream, dn_escape, ldap_escape,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Where a directory is, and how it is asked.
pub struct Directory {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// How long all of one question may take.
    pub timeout: Duration,
    /// Under which entries users are.
    pub base: String,
    /// The attribute that holds the user name.
    pub attribute: String,
    /// Who searches for users. Without, a user's name is `ATTRIBUTE=NAME,BASE`.
    pub searcher: Option<Searcher>,
    pub groups: Option<Groups>,
    /// How many questions may be under way at once.
    pub turns: Arc<Semaphore>,
}

pub enum Encryption {
    None,
    /// From the first byte on (`ldaps`).
    Tls(Tls),
    /// After a first question in the clear (RFC 4511 section 4.14).
    StartTls(Tls),
}

/// Who searches. It has no `Debug`: it holds a password.
pub struct Searcher {
    pub dn: String,
    pub password: String,
}

/// How groups are found.
pub struct Groups {
    /// Under which entries they are.
    pub base: String,
    /// The attribute that holds a group's name.
    pub name: String,
    /// The attribute of a user that names its groups (`memberOf`); or of a group that names its members.
    pub member: String,
}

/// Somebody whose password was good.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub dn: String,
    /// The user's name, always spelled alike: directories take `BOB` for `bob`.
    pub name: String,
    pub groups: Vec<String>,
}

/// Why nothing is known of somebody.
#[derive(Debug)]
pub struct Trouble {
    pub reason: String,
    /// Whether others would fare no better.
    pub of_everybody: bool,
}

impl Trouble {
    fn of_everybody(reason: impl std::fmt::Display) -> Trouble {
        Trouble { reason: reason.to_string(), of_everybody: true }
    }

    /// What a result says that is not success.
    fn of(result: &LdapResult) -> Trouble {
        Trouble { reason: format!("it answers {result}"), of_everybody: TROUBLE.contains(&result.rc) }
    }
}

/// So many questions are asked at once at most: directories have few connections to give.
pub const AT_ONCE: usize = 64;

/// The result codes that are no word about a password, but about the directory or how it is asked (RFC 4511 appendix A).
const TROUBLE: [u32; 8] = [
    1,  // operationsError
    2,  // protocolError
    3,  // timeLimitExceeded
    8,  // strongerAuthRequired
    13, // confidentialityRequired
    51, // busy
    52, // unavailable
    80, // other
];

impl Directory {
    /// Whether this is the password of a user; `None` if not.
    ///
    /// An empty password is never asked about: directories take it for somebody who does not say who they are, and
    /// agree (RFC 4513 section 5.1.2).
    pub async fn prove(
        self: &Arc<Directory>,
        fetcher: &Arc<Fetcher>,
        user: &str,
        password: &str,
    ) -> Result<Option<Found>, Trouble> {
        if user.is_empty() || password.is_empty() {
            return Ok(None);
        }
        let late = || Trouble::of_everybody(format!("no answer within {} ms", self.timeout.as_millis()));
        let turn = timeout(self.timeout, self.turns.clone().acquire_owned()).await.map_err(|_| late())?;
        let turn = turn.map_err(Trouble::of_everybody)?;
        let (own, of) = (self.clone(), fetcher.clone());
        let (user, password) = (user.to_owned(), password.to_owned());
        let asked = fetcher.run(async move {
            // It goes on when the one who asked has gone, and takes its turn for as long.
            let _turn = turn;
            timeout(own.timeout, own.ask(&of, &user, &password)).await
        });
        match asked.await {
            Some(Ok(found)) => found,
            Some(Err(_)) => Err(late()),
            None => Err(Trouble { reason: "its answer cannot be read".to_owned(), of_everybody: false }),
        }
    }

    async fn ask(&self, fetcher: &Fetcher, user: &str, password: &str) -> Result<Option<Found>, Trouble> {
        let mut ldap = self.connect(fetcher).await.map_err(Trouble::of_everybody)?;
        let asked = self.ask_over(&mut ldap, user, password).await;
        // It would be closed anyhow; this way the other side knows.
        let _ = ldap.unbind().await;
        asked
    }

    async fn ask_over(&self, ldap: &mut Ldap, user: &str, password: &str) -> Result<Option<Found>, Trouble> {
        let (dn, name) = match &self.searcher {
            None => {
                let name = folded(user);
                (format!("{}={},{}", self.attribute, dn_escape(name.as_str()), self.base), name)
            }
            Some(searcher) => {
                self.bind_as(ldap, searcher).await?;
                let filter = format!("({}={})", self.attribute, ldap_escape(user));
                let mut found = search(ldap, &self.base, &filter, &self.attribute).await?;
                match (found.pop(), found.is_empty()) {
                    (Some(entry), true) => {
                        let own = values(&entry, &self.attribute).find(|own| folded(own) == folded(user));
                        let name = own.map_or_else(|| folded(user), str::to_owned);
                        (entry.dn, name)
                    }
                    (None, _) => return Ok(None),
                    // Whose password it is must not be left to chance.
                    (Some(one), false) => {
                        tracing::warn!(dn = one.dn, "several entries have the name of one user, who is refused");
                        return Ok(None);
                    }
                }
            }
        };
        let bound = ldap.simple_bind(&dn, password).await.map_err(Trouble::of_everybody)?;
        match bound.rc {
            0 => {}
            code if TROUBLE.contains(&code) => return Err(Trouble::of(&bound)),
            _ => return Ok(None),
        }
        let groups = match &self.groups {
            None => Vec::new(),
            Some(groups) => {
                if let Some(searcher) = &self.searcher {
                    self.bind_as(ldap, searcher).await?;
                }
                groups.of(ldap, &dn, &name).await?
            }
        };
        Ok(Some(Found { dn, name, groups }))
    }

    async fn bind_as(&self, ldap: &mut Ldap, searcher: &Searcher) -> Result<(), Trouble> {
        let bound = ldap.simple_bind(&searcher.dn, &searcher.password).await.map_err(Trouble::of_everybody)?;
        let wrong = |error| Trouble::of_everybody(format!("the gate's own name and password (bind_dn): {error}"));
        bound.success().map(drop).map_err(wrong)
    }

    async fn connect(&self, fetcher: &Fetcher) -> Result<Ldap, String> {
        let stream = fetcher.connect_plain(&self.host, self.port, Instant::now() + self.timeout).await?;
        let stream = stream.into_std().map_err(|error| error.to_string())?;
        let settings = LdapConnSettings::new().set_std_stream(StdStream::Tcp(stream));
        let (settings, scheme) = match &self.encryption {
            Encryption::None => (settings, "ldap"),
            Encryption::Tls(tls) => (settings.set_config(fetcher.tls_for(tls)?), "ldaps"),
            Encryption::StartTls(tls) => (settings.set_config(fetcher.tls_for(tls)?).set_starttls(true), "ldap"),
        };
        let url = format!("{scheme}://{}:{}", self.host, self.port);
        let (connection, ldap) =
            LdapConnAsync::with_settings(settings, &url).await.map_err(|error| described(&error))?;
        fetcher.start(async move {
            let _ = connection.drive().await;
        });
        Ok(ldap)
    }
}

impl Groups {
    async fn of(&self, ldap: &mut Ldap, dn: &str, user: &str) -> Result<Vec<String>, Trouble> {
        if self.member.eq_ignore_ascii_case("memberOf") {
            let entries = search_at(ldap, dn, Scope::Base, "(objectClass=*)", &self.member).await?;
            let named = entries.iter().flat_map(|entry| values(entry, &self.member));
            return Ok(named.filter_map(|group| self.name_within(group)).collect());
        }
        // One attribute lists members by their user names, all others by whole names. Never both: a user may be called as
        // somebody else's entry is.
        let member = if self.member.eq_ignore_ascii_case("memberUid") { user } else { dn };
        let filter = format!("({}={})", self.member, ldap_escape(member));
        let entries = search(ldap, &self.base, &filter, &self.name).await?;
        Ok(entries.iter().flat_map(|entry| values(entry, &self.name)).map(str::to_owned).collect())
    }

    /// The name of a group by its whole name, if it is one of those that count.
    fn name_within(&self, dn: &str) -> Option<String> {
        let (first, mut rest) = split_first(dn)?;
        let plain = |text: &str| text.to_ascii_lowercase().replace(", ", ",");
        let base = plain(&self.base);
        let within = loop {
            if plain(rest) == base {
                break true;
            }
            match split_first(rest) {
                Some((_, above)) => rest = above,
                None => break false,
            }
        };
        let (attribute, value) = first.split_once('=')?;
        (within && attribute.trim().eq_ignore_ascii_case(&self.name)).then(|| unescape(value.trim()))
    }
}

/// The first part of a name, and the rest; a comma that is escaped ends none (RFC 4514 section 2.1).
fn split_first(dn: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (index, byte) in dn.bytes().enumerate() {
        match byte {
            b'\\' if !escaped => escaped = true,
            b',' if !escaped => return Some((&dn[..index], dn[index + 1..].trim_start())),
            _ => escaped = false,
        }
    }
    None
}

/// A value of a name as it is meant (RFC 4514 section 3).
fn unescape(value: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let Some((first, others)) = rest.split_first() {
        let hex = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        match (first, others) {
            (b'\\', [a, b, after @ ..]) if hex(&[*a, *b]).is_some() => {
                bytes.extend(hex(&[*a, *b]));
                rest = after;
            }
            (b'\\', [one, after @ ..]) => {
                bytes.push(*one);
                rest = after;
            }
            (one, after) => {
                bytes.push(*one);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn search(ldap: &mut Ldap, base: &str, filter: &str, attribute: &str) -> Result<Vec<SearchEntry>, Trouble> {
    search_at(ldap, base, Scope::Subtree, filter, attribute).await
}

async fn search_at(
    ldap: &mut Ldap,
    base: &str,
    scope: Scope,
    filter: &str,
    attribute: &str,
) -> Result<Vec<SearchEntry>, Trouble> {
    let found = ldap.search(base, scope, filter, vec![attribute]).await.map_err(Trouble::of_everybody)?;
    if found.1.rc != 0 {
        return Err(Trouble::of(&found.1));
    }
    let entries = found.0;
    // Referrals to other directories are not followed.
    let entries = entries.into_iter().filter(|entry| !entry.is_ref() && !entry.is_intermediate());
    Ok(entries.map(SearchEntry::construct).collect())
}

/// A name as directories compare it: without case, and with single spaces (RFC 4518 section 2).
fn folded(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn values<'a>(entry: &'a SearchEntry, attribute: &str) -> impl Iterator<Item = &'a str> {
    let attribute = attribute.to_ascii_lowercase();
    let own = entry.attrs.iter().filter(move |(name, _)| name.to_ascii_lowercase() == attribute);
    own.flat_map(|(_, values)| values).map(String::as_str)
}

fn described(error: &LdapError) -> String {
    format!(
        "{error}; check ldap_host, ldap_port, ldaps and start_tls, and that its certificate is for the host and by an authority that is trusted (lua_ssl_trusted_certificate)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_those_under_their_base() {
        let groups = Groups { base: "ou=groups,dc=x".to_owned(), name: "cn".to_owned(), member: "memberOf".to_owned() };
        for (dn, name) in [
            ("cn=ops,ou=groups,dc=x", Some("ops")),
            ("CN=Ops, OU=Groups, DC=x", Some("Ops")),
            ("cn=a\\, b\\2b,ou=team,ou=groups,dc=x", Some("a, b+")),
            ("cn=ops,ou=evil-groups,dc=x", None),
            ("cn=ops,ou=x\\,ou=groups,dc=x", None),
            ("cn=ops,ou=groups,dc=y", None),
            ("ou=ops,ou=groups,dc=x", None),
            // The comma belongs to the value: this is a group of somewhere else.
            ("cn=a\\,ou=groups,dc=x", None),
            ("cn=ops", None),
        ] {
            assert_eq!(groups.name_within(dn).as_deref(), name, "{dn}");
        }
    }
}
