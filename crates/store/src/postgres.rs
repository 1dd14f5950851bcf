//! PostgreSQL, for many gates.

use crate::sql::{Cell, Sql, odd};
use model::rows::Unavailable;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout};
use tokio_postgres::types::{IsNull, ToSql, Type, private::BytesMut, to_sql_checked};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Statement};

/// Where PostgreSQL is, and who the gate is to it. It has no `Debug`: it holds a password.
#[derive(Clone)]
pub struct PostgresSettings {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
    pub database: String,
    /// The schema that the tables are in; the server's own choice where there is none.
    pub schema: Option<String>,
    /// How long a question may take.
    pub timeout: Duration,
    pub tls: Option<PostgresTls>,
}

/// How the server is spoken to over TLS.
#[derive(Clone)]
pub struct PostgresTls {
    pub config: Arc<net::ClientConfig>,
    /// Go on without TLS where the server has none.
    pub optional: bool,
}

/// The channel that gates tell each other of changes on.
const CHANNEL: &str = "portcullis";
/// How long to wait for a lock that another gate holds.
const LOCK: u64 = 0x706f_7274;

/// The server, with a thread that speaks to it.
#[derive(Clone)]
pub(crate) struct Postgres {
    settings: PostgresSettings,
    runtime: Arc<Runtime>,
}

struct PostgresConnection {
    client: Client,
    runtime: Arc<Runtime>,
    timeout: Duration,
    prepared: Mutex<HashMap<String, Statement>>,
    /// It did not answer in time: nobody knows what it still does.
    is_late: AtomicBool,
}

impl Postgres {
    pub(crate) fn new(settings: PostgresSettings) -> Result<Postgres, Unavailable> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("postgres").enable_all().build();
        let runtime = runtime.map_err(|error| Unavailable(error.to_string()))?;
        Ok(Postgres { settings, runtime: Arc::new(runtime) })
    }

    pub(crate) fn connect(&self) -> Result<Box<dyn Sql>, Unavailable> {
        let work = async {
            let (client, mut connection) = self.open().await?;
            tokio::spawn(async move {
                while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {}
            });
            Ok::<_, Unavailable>(client)
        };
        let client = self.runtime.block_on(async { self.in_time(work).await })?;
        Ok(Box::new(PostgresConnection {
            client,
            runtime: self.runtime.clone(),
            timeout: self.settings.timeout,
            prepared: Mutex::default(),
            is_late: AtomicBool::new(false),
        }))
    }

    /// Sends whenever a gate says that it changed something; returns when the connection is lost, or nobody hears.
    pub(crate) fn listen(&self, heard: &Sender<()>) -> Result<(), Unavailable> {
        let (client, mut connection) = self.runtime.block_on(async { self.in_time(self.open()).await })?;
        self.runtime.block_on(async {
            let mut listening = Box::pin(client.batch_execute("LISTEN portcullis"));
            let mut listens = false;
            let nobody = |_| Unavailable("nobody hears".to_owned());
            loop {
                tokio::select! {
                    done = &mut listening, if !listens => {
                        done.map_err(|error| self.trouble(&error))?;
                        listens = true;
                        // What was said before is not heard.
                        heard.send(()).map_err(nobody)?;
                    }
                    message = poll_fn(|context| connection.poll_message(context)) => match message {
                        Some(Ok(AsyncMessage::Notification(_))) => heard.send(()).map_err(nobody)?,
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Err(self.trouble(&error)),
                        None => return Err(Unavailable("the connection was closed".to_owned())),
                    }
                }
            }
        })
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
        let late = || Unavailable(format!("PostgreSQL at {} does not answer", self.place()));
        timeout(self.settings.timeout, work).await.unwrap_or_else(|_| Err(late()))
    }

    async fn open(
        &self,
    ) -> Result<(Client, Connection<Box<dyn Stream>, tokio_postgres::tls::NoTlsStream>), Unavailable> {
        let settings = &self.settings;
        let stream = self.stream().await?;
        let mut config = Config::new();
        config.user(&settings.user).dbname(&settings.database).application_name("portcullis");
        if let Some(password) = &settings.password {
            config.password(password);
        }
        // TLS is there already, where it is wanted.
        config.ssl_mode(tokio_postgres::config::SslMode::Disable);
        if let Some(schema) = &settings.schema {
            config.options(format!("-c search_path={schema}"));
        }
        let opened = config.connect_raw(stream, NoTls).await.map_err(|error| self.trouble(&error))?;
        Ok(opened)
    }

    async fn stream(&self) -> Result<Box<dyn Stream>, Unavailable> {
        let settings = &self.settings;
        let failed = |error: String| Unavailable(format!("PostgreSQL at {}: {error}", self.place()));
        let place = (settings.host.as_str(), settings.port);
        let mut stream = TcpStream::connect(place).await.map_err(|error| failed(error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let Some(tls) = &settings.tls else { return Ok(Box::new(stream)) };
        // SSLRequest: the server says with one letter whether it speaks TLS.
        let mut said = [0; 1];
        let asked = async {
            stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
            stream.read_exact(&mut said).await
        };
        asked.await.map_err(|error| failed(error.to_string()))?;
        match said {
            [b'S'] => {
                let deadline = Instant::now() + settings.timeout;
                let stream = net::egress::tls_connect(stream, tls.config.clone(), &settings.host, deadline).await;
                Ok(Box::new(stream.map_err(|error| failed(error.to_string()))?))
            }
            _ if tls.optional => Ok(Box::new(stream)),
            _ => Err(failed("it does not speak TLS, which pg_ssl_required asks for".to_owned())),
        }
    }

    fn trouble(&self, error: &tokio_postgres::Error) -> Unavailable {
        Unavailable(format!("PostgreSQL at {}: {}", self.place(), in_words(error)))
    }

    fn place(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What the server says, without the values that it repeats (they may be secrets).
fn in_words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(own) => format!("{} ({})", own.message(), own.code().code()),
        None => error.to_string(),
    }
}

impl PostgresConnection {
    fn wait<T>(&self, work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Unavailable> {
        let late = || Unavailable("PostgreSQL does not answer in time".to_owned());
        let done = self.runtime.block_on(async { timeout(self.timeout, work).await });
        let done = done.map_err(|_| {
            self.is_late.store(true, Ordering::Relaxed);
            late()
        })?;
        done.map_err(|error| Unavailable(in_words(&error)))
    }

    fn prepare(&self, sql: &str) -> Result<Statement, Unavailable> {
        let known = |sql: &str| self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned();
        if let Some(statement) = known(sql) {
            return Ok(statement);
        }
        let statement = self.wait(self.client.prepare(sql))?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        prepared.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Sql for PostgresConnection {
    fn ask(&self, sql: &str, given: &[Cell]) -> Result<Vec<Vec<Cell>>, Unavailable> {
        let statement = self.prepare(sql)?;
        let given: Vec<&(dyn ToSql + Sync)> = given.iter().map(|cell| cell as &(dyn ToSql + Sync)).collect();
        let rows = self.wait(self.client.query(&statement, &given))?;
        let row = |row: &tokio_postgres::Row| (0..row.len()).map(|column| cell(row, column)).collect();
        rows.iter().map(row).collect()
    }

    fn run(&self, script: &str) -> Result<(), Unavailable> {
        self.wait(self.client.batch_execute(script))
    }

    fn begin(&self) -> Result<(), Unavailable> {
        // Who holds it writes; it falls with the transaction.
        self.run(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCK})"))
    }

    fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.is_late.load(Ordering::Relaxed)
    }
}

/// Tells all gates; sent when the transaction is.
pub(crate) const NOTIFY: &str = "NOTIFY portcullis";
const _: () = assert!(CHANNEL.len() == 10);

impl ToSql for Cell {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Cell::Null => Ok(IsNull::Yes),
            Cell::Text(text) => text.to_sql(kind, out),
            Cell::Integer(number) => number.to_sql(kind, out),
            Cell::Bytes(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::TEXT, Type::INT8, Type::BYTEA].contains(kind)
    }

    to_sql_checked!();
}

fn cell(row: &tokio_postgres::Row, column: usize) -> Result<Cell, Unavailable> {
    fn value<'a, T: tokio_postgres::types::FromSql<'a>>(
        row: &'a tokio_postgres::Row,
        column: usize,
        cell: fn(T) -> Cell,
    ) -> Result<Cell, Unavailable> {
        row.try_get::<_, Option<T>>(column).map(|value| value.map_or(Cell::Null, cell)).map_err(|_| odd())
    }
    match row.columns().get(column).map(|column| column.type_()) {
        Some(&Type::TEXT) => value(row, column, Cell::Text),
        Some(&Type::INT8) => value(row, column, Cell::Integer),
        Some(&Type::BYTEA) => value(row, column, Cell::Bytes),
        _ => Err(odd()),
    }
}
