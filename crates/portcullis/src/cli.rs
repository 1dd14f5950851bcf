//! The command line: its commands and flags, and the manual that `--help` prints.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::settings::{Settings, environment, manual};

/// Exit code: what was asked for could not be done, or the configuration is not right.
pub const EXIT_FAILED: u8 = 1;

/// Exit code: the command line or the settings are not right. clap uses the same number.
pub const EXIT_USAGE: u8 = 2;

/// Exit code of `diff --exit-code`: something differs.
pub const EXIT_DIFFERS: u8 = 3;

/// Reads the arguments of the process; prints help and ends the process where that was asked for.
#[derive(Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    about = "An API gateway that speaks Kong 3.9's configuration",
    long_about = ABOUT,
    after_long_help = ABOUT_MORE,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(about = "Run the gate", long_about = START, after_long_help = start_more())]
    Start(StartFlags),
    #[command(about = "Check a configuration file without running anything", long_about = CHECK, after_long_help = CHECK_MORE)]
    Check(CheckFlags),
    #[command(about = "Tell what would become of a request", long_about = EXPLAIN, after_long_help = EXPLAIN_MORE)]
    Explain(ExplainFlags),
    #[command(about = "Let the running gate read its configuration file again", long_about = RELOAD, after_long_help = RELOAD_MORE)]
    Reload(RunningFlags),
    #[command(about = "Let a new process take over from the running gate", long_about = UPGRADE, after_long_help = UPGRADE_MORE)]
    Upgrade(RunningFlags),
    #[command(about = "Make a gate's database what a file says", long_about = SYNC, after_long_help = SYNC_MORE)]
    Sync(SyncFlags),
    #[command(about = "Tell how a file differs from a gate's database", long_about = DIFF, after_long_help = SYNC_MORE)]
    Diff(SyncFlags),
    #[command(about = "Write a gate's database as a file", long_about = DUMP, after_long_help = DUMP_MORE)]
    Dump(DumpFlags),
    #[command(subcommand, about = "Read the configuration of another gateway")]
    Import(Import),
    #[command(about = "Say who may do what over the Admin API", long_about = TOKENS, after_long_help = TOKENS_MORE)]
    Tokens(TokensFlags),
    #[command(about = "Tell who changed what over the Admin API", long_about = AUDIT, after_long_help = AUDIT_MORE)]
    Audit(AuditFlags),
    #[command(about = "Look after the database", long_about = DB, after_long_help = DB_MORE)]
    Db(DbFlags),
    #[command(about = "Print the version", long_about = VERSION)]
    Version,
    #[command(about = "Write a commented configuration to start from", long_about = NEW, after_long_help = NEW_MORE)]
    New(NewFlags),
}

#[derive(Debug, Clone, Default, Args)]
pub struct StartFlags {
    /// The configuration file (setting declarative_config)
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// The settings file [default: ./portcullis.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// The directory for what the gate keeps (setting data) [default: .portcullis]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,

    /// Where callers reach the gate (setting proxy_listen)
    #[arg(long, value_name = "ADDRESSES")]
    pub proxy_listen: Option<String>,

    /// Where the Admin API listens (setting admin_listen)
    #[arg(long, value_name = "ADDRESSES")]
    pub admin_listen: Option<String>,

    /// Take over from the gate that runs with this data directory
    #[arg(long)]
    pub takeover: bool,

    /// Any setting; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = Assignment::parse)]
    pub set: Vec<Assignment>,
}

impl StartFlags {
    /// The flags that stand for one setting each: the flag, the setting's name, the value if given.
    pub fn shortcuts(&self) -> [(&'static str, &'static str, Option<&str>); 4] {
        [
            ("--config", "declarative_config", self.config.as_deref()),
            ("--data", "data", self.data.as_deref()),
            ("--proxy-listen", "proxy_listen", self.proxy_listen.as_deref()),
            ("--admin-listen", "admin_listen", self.admin_listen.as_deref()),
        ]
    }
}

/// The argument of `--set`. Its Debug hides the value, which may be a secret.
#[derive(Clone)]
pub struct Assignment {
    pub key: String,
    pub value: String,
}

impl Assignment {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("write KEY=VALUE, for example log_level=info".to_owned()),
        }
    }
}

impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=(hidden)", self.key)
    }
}

#[derive(Debug, Clone, Args)]
pub struct CheckFlags {
    /// The configuration file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Clone, Args)]
pub struct ExplainFlags {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,

    /// The method of the request
    #[arg(value_name = "METHOD")]
    pub method: String,

    /// Its URL, with scheme and host
    #[arg(value_name = "URL")]
    pub url: String,

    /// A header; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,

    /// Its body
    #[arg(short, long, value_name = "TEXT")]
    pub data: Option<String>,

    /// Where it would come from
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub ip: IpAddr,

    /// Tell it as JSON, with all that is known
    #[arg(long)]
    pub json: bool,
}

/// Headers, URL and body may hold secrets.
impl fmt::Debug for ExplainFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "explain {} with {}", self.method, self.config.display())
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct RunningFlags {
    /// The data directory of the running gate (setting data) [default: .portcullis]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
}

impl RunningFlags {
    /// The flags under which `Settings::load` finds the data directory as `start` would.
    pub fn as_start(&self) -> StartFlags {
        StartFlags { data: self.data.clone(), ..StartFlags::default() }
    }
}

/// Which Admin API a command speaks to.
#[derive(Debug, Clone, Default, Args)]
pub struct AdminFlags {
    /// The Admin API of another gate; its token is the setting admin_token
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,

    #[command(flatten)]
    pub place: PlaceFlags,
}

/// Where settings and data of the gate here are.
#[derive(Debug, Clone, Default, Args)]
pub struct PlaceFlags {
    /// The settings file [default: ./portcullis.toml if it exists]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,

    /// The data directory of the gate (setting data) [default: .portcullis]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
}

impl PlaceFlags {
    /// The settings that `start` would have.
    pub fn settings(&self) -> Result<Settings, String> {
        let start = StartFlags { settings: self.settings.clone(), data: self.data.clone(), ..StartFlags::default() };
        Settings::load(&start, environment()).map(|(settings, _)| settings).map_err(|errors| errors.to_string())
    }
}

#[derive(Debug, Clone, Args)]
pub struct SyncFlags {
    /// The declarative file; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,

    /// End with 3 if something differs (diff)
    #[arg(long)]
    pub exit_code: bool,

    /// Only entities with this tag, which those of the file get; may be given several times
    #[arg(long, value_name = "TAG")]
    pub select_tag: Vec<String>,

    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub struct DumpFlags {
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Only entities with this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    pub select_tag: Vec<String>,

    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Import {
    #[command(about = "Read a running Kong over its Admin API", long_about = IMPORT, after_long_help = IMPORT_MORE)]
    Kong(ImportFlags),
}

#[derive(Clone, Args)]
pub struct ImportFlags {
    /// The Admin API of the Kong
    #[arg(long, value_name = "URL")]
    pub from: String,

    /// A header for it, such as Kong-Admin-Token; may be given several times
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub header: Vec<String>,

    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    pub place: PlaceFlags,
}

/// Headers may hold secrets.
impl fmt::Debug for ImportFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "import kong from {}", self.from)
    }
}

#[derive(Debug, Clone, Args)]
pub struct TokensFlags {
    #[command(subcommand)]
    pub command: TokensCommand,

    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Subcommand)]
pub enum TokensCommand {
    /// Make a token, and write it to standard output
    Create {
        /// Its name, by which the audit log knows who has it
        name: String,
        /// What it may do: methods and a path, such as 'POST /consumers' or 'GET /**'; may be given several times
        #[arg(long, value_name = "RULE", required = true)]
        allow: Vec<String>,
        /// How many days it is good for; for ever without this
        #[arg(long, value_name = "DAYS")]
        days: Option<u64>,
    },
    /// Tell which tokens there are, and what they may do
    List,
    /// Take a token away; it is refused from then on
    Revoke {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct AuditFlags {
    /// Only what this one did: the name of a token, `admin`, or a command of the gate's own
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,

    /// Only entities of this kind, such as consumers
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,

    /// Only the entity of this identity
    #[arg(long, value_name = "UUID")]
    pub id: Option<String>,

    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub struct DbFlags {
    #[command(subcommand)]
    pub command: DbCommand,

    #[command(flatten)]
    pub place: PlaceFlags,
}

#[derive(Debug, Clone, Subcommand)]
pub enum DbCommand {
    /// Tell which version the tables are of, and the number of the last change
    Status,
    /// Bring the tables up to this version; the gate does so at its start, too
    Migrate,
    /// Encrypt anew what is not under the first encryption key
    Encrypt,
    /// Keep API keys as their SHA-256 alone, those that can be read so far, too (see the setting readable_keys)
    HashKeys,
    /// Copy every entity into a new file, encrypted as in the database
    Backup {
        /// The file to write
        file: PathBuf,
    },
    /// Put what a backup holds in place of everything; running gates follow
    Restore {
        /// A file that `backup` has written, of SQLite or PostgreSQL
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
pub struct NewFlags {
    /// The file to write; - for standard output
    #[arg(value_name = "FILE", default_value = "kong.yml")]
    pub file: PathBuf,
}

const EXPLAIN: &str = "\
Tells what would become of a request with a configuration: which route takes it and why the others do not, which \
plugins run in which order and what each decides, and what the service would get. The service itself is not asked, and \
nothing is counted; whom plugins ask (issuers, directories, Redis) is asked. Values of headers are told only where the \
gate itself has written them. A running gate tells the same: POST /debug/explain on its Admin API.";

const EXPLAIN_MORE: &str = "\
Examples:
  portcullis explain --config kong.yml GET http://shop.test/orders
  portcullis explain --config kong.yml POST https://shop.test/orders -H 'apikey: k1' -d '{}' --ip 192.0.2.7 --json";

const ABOUT: &str = "\
Portcullis stands at the door of your services. It reads a configuration in Kong's language (services, \
routes, consumers, plugins), and for each request matches a route, proves who calls, decides what they may \
do, and forwards the request to the service behind.";

const ABOUT_MORE: &str = "\
Examples:
  portcullis new                        write kong.yml, a configuration to start from
  portcullis check kong.yml             say everything that is wrong in it
  portcullis explain --config kong.yml GET http://shop.test/orders
                                        say what would become of a request, and why
  portcullis start --config kong.yml    run the gate with it
  portcullis reload                     read it again, without losing a request
  portcullis upgrade                    put a new version in place, without losing a request

`portcullis help COMMAND` tells all about one command; `portcullis help start` lists the settings.

Exit codes:
  0  done
  1  it could not be done, or the configuration is not right
  2  the command line or the settings are not right";

const START: &str = "\
Run the gate until it is told to stop.

The gate checks its settings and its whole configuration first, and does not listen before both are right. \
Every mistake is reported, each with its place. It runs in the foreground. Once it \
listens it prints a line that begins with `ready` to standard output; it tells of itself on standard error.

SIGTERM and SIGINT stop it: it takes no new connections and waits for requests under way, at most \
stop_timeout_s seconds. SIGHUP lets it read its configuration file again, as `portcullis reload` does. With --takeover \
the gate starts in place of the one that runs with this data directory, as `portcullis upgrade` does.";

const START_MORE: &str = "\
Examples:
  portcullis start --config kong.yml
  portcullis start --config kong.yml --proxy-listen 127.0.0.1:8000 --set log_level=info
  KONG_DATABASE=off KONG_DECLARATIVE_CONFIG=kong.yml portcullis start

Where settings come from; the first of these that names a setting decides it:
  1. flags: those above, and --set KEY=VALUE for any setting
  2. variables PORTCULLIS_<KEY>, such as PORTCULLIS_LOG_LEVEL
  3. variables KONG_<KEY>, such as KONG_LOG_LEVEL
  4. the settings file: lines such as  log_level = \"info\"  (TOML)
  5. the defaults

Files:
  ./portcullis.toml         the settings file, if it exists and neither --settings
                            nor PORTCULLIS_SETTINGS names another
  .portcullis/              the data directory (setting data)
  .portcullis/admin_token   the token of the Admin API, made at the first start if
                            the setting admin_token is not set
  .portcullis/addresses.json, .portcullis/portcullis.pid
                            where the running gate listens, and its process id

Exit codes:
  0  stopped as it was told to
  1  the configuration is not right, an address is taken, or the gate failed
  2  the command line or the settings are not right

Settings, with their defaults (docs/settings.md tells more):
";

fn start_more() -> String {
    format!("{START_MORE}\n{}", manual::listing())
}

const CHECK: &str = "\
Check a configuration file without running anything.

The file is read and judged as `start` would: its shape, every plugin's config, all references and \
everything that must be unique. All mistakes are reported at once. Choices that are allowed but insecure \
are named as warnings. Nothing is listened on, written or sent.";

const CHECK_MORE: &str = "\
Examples:
  portcullis check kong.yml
  portcullis check kong.yml && portcullis reload

Exit codes:
  0  the gate would accept the file (there may be warnings)
  1  it would refuse the file
  2  the command line is not right, or the file cannot be read";

const RELOAD: &str = "\
Let the running gate read its configuration file again.

The gate judges the new configuration as a whole and then changes to it at once; requests under way finish \
with the old one. A configuration that is not right changes nothing. Settings are read only at the start.

The gate is found through its data directory: that of --data, else of the settings (PORTCULLIS_DATA, \
KONG_PREFIX, portcullis.toml), else .portcullis.";

const RELOAD_MORE: &str = "\
Examples:
  portcullis reload
  portcullis reload --data /var/lib/portcullis

Exit codes:
  0  the new configuration is in force
  1  it was refused and the old one stays, or no running gate was found
  2  the command line or the settings are not right";

const UPGRADE: &str = "\
Let a new process take over from the running gate, without losing a request.

The running gate starts the program that lies where its own lay, with the same arguments, and gives it its \
listening sockets. When the new one has read its settings and its whole configuration and accepts, the old one takes \
no new connections, finishes the requests under way (at most stop_timeout_s seconds) and ends. If the new one does not \
become ready, nothing changes, and it says why on standard error.

Where a supervisor must start the new process itself, let it run `portcullis start --takeover` with the same \
arguments.";

const UPGRADE_MORE: &str = "\
Examples:
  install -m 755 portcullis-new /usr/local/bin/portcullis && portcullis upgrade --data /var/lib/portcullis

Exit codes:
  0  the new process has taken over
  1  it has not, and the old one goes on; or no running gate was found
  2  the command line or the settings are not right";

const SYNC: &str = "\
Make the database of a running gate what a declarative file says: what is missing is created, what differs is changed, \
what the file does not have is deleted. All of it comes into force at once, or nothing does.

An entity is the one with its identity, or else the one with its name, key or whatever may be there once; it keeps the \
identity that it has in the database. A file without any consumer, credential or group of consumers is not about callers: \
all of them stay, with their plugins. With --select-tag entities without the tag are left alone, and those of the file get \
it.";

const DIFF: &str = "\
Tell how a file differs from the database of a running gate: what `portcullis sync` would create (+), change (~) and \
delete (-). Secrets are not shown.";

const SYNC_MORE: &str = "\
Examples:
  portcullis diff kong.yml
  portcullis diff kong.yml --exit-code || portcullis sync kong.yml
  portcullis sync team-a.yml --select-tag team-a
  PORTCULLIS_ADMIN_TOKEN=... portcullis sync kong.yml --admin https://gate.internal:8444

The gate is found through its data directory, or named with --admin; its token through the setting admin_token, or the \
file admin_token of that directory.

Exit codes:
  0  done
  1  it could not be done: nothing was changed
  2  the command line is not right
  3  something differs (diff --exit-code)";

const DUMP: &str = "\
Write the database of a running gate as a declarative file (YAML) with every default, and with its secrets: passwords as \
they are kept, keys as they are. A file is written for its owner only, and never overwritten.";

const DUMP_MORE: &str = "\
Examples:
  portcullis dump
  portcullis dump --output kong.yml --select-tag team-a

Exit codes:
  0  written
  1  it could not be done
  2  the command line is not right";

const IMPORT: &str = "\
Read everything that a running Kong has over its Admin API, and write it as a declarative file for `portcullis sync` or \
`portcullis start --config`. Secrets come along where Kong gives them: API keys, secrets of JWT and HMAC credentials, \
private keys, and passwords as Kong keeps them (basic-auth goes on with them). The Kong is only read.";

const IMPORT_MORE: &str = "\
Examples:
  portcullis import kong --from http://localhost:8001 --output kong.yml
  portcullis check kong.yml && portcullis sync kong.yml
  portcullis import kong --from https://kong.internal:8444 -H 'Kong-Admin-Token: ...' | portcullis diff -

Exit codes:
  0  written
  1  it could not be done
  2  the command line is not right";

const TOKENS: &str = "\
Say who may do what over the Admin API of a running gate. The gate's own token, in the file admin_token of its data \
directory, may do everything; each of these may do what its rules say: methods (with commas between, or *) and a path, in \
which * stands for one segment and ** for all that follow.";

const TOKENS_MORE: &str = "\
Examples:
  portcullis tokens create registration --allow 'POST /consumers' --allow 'POST /consumers/*/key-auth'
  portcullis tokens create dashboards --allow 'GET /status' --days 90
  portcullis tokens list
  portcullis tokens revoke registration

Exit codes:
  0  done
  1  it could not be done
  2  the command line is not right";

const AUDIT: &str = "\
Tells who changed what over the Admin API of a running gate, the oldest first, a line of JSON each: number, time (seconds since \
1970), who, operation, kind and identity, and the entity before and after, without secrets. The log goes back as far as the \
setting audit_log_record_ttl says.";

const AUDIT_MORE: &str = "\
Examples:
  portcullis audit > audit.jsonl
  portcullis audit --who registration --kind consumers

Exit codes:
  0  done
  1  it could not be done
  2  the command line is not right";

const DB: &str = "\
Look after the database that the settings name (`database`, `pg_*`), whether or not a gate runs.";

const DB_MORE: &str = "\
Examples:
  portcullis db status
  portcullis db backup gate.backup --data /var/lib/portcullis
  portcullis db restore gate.backup

A new encryption key goes before the old one in encryption_key_file of every gate; these are started again (`portcullis \
upgrade`), then `portcullis db encrypt` is run, and then the old key can go. A backup of SQLite can be restored into \
PostgreSQL and the other way.

Exit codes:
  0  done
  1  it could not be done
  2  the command line is not right";

const VERSION: &str = "\
Print the version, and the configuration language that this version speaks.";

const NEW: &str = "\
Write a commented configuration to start from.

It has one service with two routes, one for callers with an API key and one for callers with a JWT, and a \
consumer for each. The secure choices are written out, and the key and the secret are random, made for this \
file: it is a secret itself, readable by its owner only. A file that exists is never overwritten.";

const NEW_MORE: &str = "\
Examples:
  portcullis new                  write kong.yml
  portcullis new gate/kong.yml    write another file
  portcullis new - | less         look at it first

Exit codes:
  0  written
  1  the file exists already or cannot be written
  2  the command line is not right";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::settings::ADMIN_TOKEN_FILE;

    fn check(arguments: &str, expected: &str) {
        let arguments = std::iter::once("portcullis").chain(arguments.split_whitespace());
        let found = match Cli::try_parse_from(arguments) {
            Ok(cli) => format!("{:?}", cli.command),
            Err(error) => format!("{:?} {}", error.kind(), error.exit_code()),
        };
        assert!(found.contains(expected), "{found}");
    }

    #[test]
    fn commands() {
        Cli::command().debug_assert();
        check("", "DisplayHelpOnMissingArgumentOrSubcommand 2");
        check("--version", "DisplayVersion 0");
        check("version", "Version");
        check("check", "MissingRequiredArgument 2");
        check("check kong.yml", "file: \"kong.yml\"");
        check("new", "file: \"kong.yml\"");
        check("new -", "file: \"-\"");
        check("reload --data /d", "data: Some(\"/d\")");
        check("start --set a=1 --set b=2=3", "set: [a=(hidden), b=(hidden)]");
        check("start --set a", "ValueValidation 2");
        check("start --proxy-listen 127.0.0.1:1", "proxy_listen: Some(\"127.0.0.1:1\")");
    }

    #[test]
    fn every_shortcut_is_a_setting_and_a_flag() {
        let mut command = Cli::command();
        let start = command.find_subcommand_mut("start").map(|start| start.render_long_help().to_string());
        let help = start.unwrap_or_default();
        for (flag, key, _) in StartFlags::default().shortcuts() {
            assert!(help.contains(&format!("{flag} <")), "{flag}");
            assert!(help.contains(&format!("  {key} = ")), "{key}");
        }
        assert!(help.contains(&format!(".portcullis/{ADMIN_TOKEN_FILE} ")));
    }
}
