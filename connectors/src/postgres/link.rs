//! A connection to the server, and what its errors mean.
//!
//! Invariant: every error of the client library becomes one of the engine's kinds here: `Data` for rows that the
//! server refuses, `Config` for what somebody has to change (login, rights, tables, columns), `Unavailable` for the
//! rest, which is tried again. No error shows the URL or the password.

use std::future::Future;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use millstream_engine::{Error, ErrorKind, Result, causes, failpoint};

use super::epoch::EpochRows;
use super::rows::{Chosen, Rows};
use super::settings::Settings;
use super::target::{
    COLUMNS_QUERY, ServerColumn, casts, create_progress_statement, progress_statement, quoted_target,
    remove_statement, write_statement,
};

/// A connection with its statements prepared.
pub(super) struct Link {
    client: Client,
    /// Drives the connection; ends when it is gone.
    pub driver: JoinHandle<()>,
    write: Statement,
    remove: Option<Statement>,
    progress: Option<Statement>,
    settings: Arc<Settings>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    /// Connects, compares the server's table with ours, and prepares the statements.
    ///
    /// # Errors
    /// `Config` when somebody has to change something, `Unavailable` when trying again may do.
    pub async fn connect(settings: &Arc<Settings>) -> Result<Self> {
        match timeout(settings.request_timeout, Self::connect_now(settings)).await {
            Ok(link) => link.map_err(|error| error.at(format!("PostgreSQL at {}", settings.server()))),
            Err(_) => Err(slow(settings)),
        }
    }

    async fn connect_now(settings: &Arc<Settings>) -> Result<Self> {
        let (client, driver) = open(settings).await?;
        let target = quoted_target(&settings.target);
        let columns = server_columns(&client, settings).await?;
        let casts = casts(&settings.schema, &columns, &settings.target_name())?;
        let write = write_statement(&target, &settings.schema, &casts, &settings.primary_key);
        let write = client.prepare(&write).await.map_err(|error| judged(&error))?;
        let remove = if settings.primary_key.is_empty() {
            None
        } else {
            let remove = remove_statement(&target, &settings.schema, &casts, &settings.primary_key);
            Some(client.prepare(&remove).await.map_err(|error| judged(&error))?)
        };
        let progress = match &settings.progress {
            Some(table) => Some(progress_of(&client, &quoted_target(table)).await?),
            None => None,
        };
        Ok(Self { client, driver, write, remove, progress, settings: Arc::clone(settings) })
    }

    /// Removes and writes rows, all or none of them.
    ///
    /// # Errors
    /// `Data` when one of them is refused; others as [`Link::connect`].
    pub async fn apply(&mut self, rows: &Rows, removes: &[u32], writes: &[u32]) -> Result<()> {
        let settings = Arc::clone(&self.settings);
        match timeout(settings.request_timeout, self.apply_now(rows, removes, writes)).await {
            Ok(applied) => applied,
            Err(_) => Err(slow(&settings)),
        }
    }

    /// Commits an epoch's rows, and that `writer` has, in one transaction. Answers the rows that the server refuses, by
    /// statement and row, which the others do without; none of an epoch that was committed before.
    ///
    /// # Errors
    /// As [`Link::connect`].
    pub async fn apply_epoch(&mut self, writer: &str, epoch: &EpochRows) -> Result<Vec<Refused>> {
        let Self { client, write, remove, progress, settings, .. } = self;
        let progress =
            progress.as_ref().ok_or_else(|| Error::internal("there is no table for the progress"))?;
        let number = i64::try_from(epoch.epoch).unwrap_or(i64::MAX);
        let mut transaction = within(settings, client.transaction()).await?;
        let parameters: [&(dyn ToSql + Sync); 2] = [&writer, &number];
        if within(settings, transaction.execute(progress, &parameters)).await? == 0 {
            return Ok(Vec::new());
        }
        let mut statements =
            Statements { transaction: &mut transaction, write, remove: remove.as_ref(), settings };
        let mut refused = Vec::new();
        for (at, rows) in epoch.statements.iter().enumerate() {
            let (writes, removes) = rows.settled(&settings.primary_key);
            // Removed first: a row that is written may need the place of one that goes.
            for (chosen, is_removal) in [(removes, true), (writes, false)] {
                let errors = statements.apply(rows, &chosen, is_removal).await?;
                refused.extend(errors.into_iter().map(|(row, error)| Refused { statement: at, row, error }));
            }
        }
        failpoint::hit("postgres-before-commit");
        within(settings, transaction.commit()).await.map_err(|error| match error.kind() {
            ErrorKind::Data => {
                Error::config(format!("the server refuses the transaction at its end: {error}"))
                    .remedy("make constraints that are DEFERRED IMMEDIATE, so that the row is known")
            }
            _ => error,
        })?;
        failpoint::hit("postgres-after-commit");
        Ok(refused)
    }

    async fn apply_now(&mut self, rows: &Rows, removes: &[u32], writes: &[u32]) -> Result<()> {
        let all: Vec<usize> = (0..rows.columns.len()).collect();
        let settings = Arc::clone(&self.settings);
        let key = settings.primary_key.as_slice();
        if !removes.is_empty() {
            let Some(remove) = &self.remove else {
                return Err(Error::internal("rows are to be removed from a table without a key"));
            };
            if writes.is_empty() {
                return execute(&self.client, remove, rows, key, removes).await;
            }
            let transaction = self.client.transaction().await.map_err(|error| judged(&error))?;
            execute(transaction.client(), remove, rows, key, removes).await?;
            execute(transaction.client(), &self.write, rows, &all, writes).await?;
            return transaction.commit().await.map_err(|error| judged(&error));
        }
        if writes.is_empty() { Ok(()) } else { execute(&self.client, &self.write, rows, &all, writes).await }
    }
}

/// A connection, and the task that drives it.
pub(super) async fn open(settings: &Settings) -> Result<(Client, JoinHandle<()>)> {
    let tls = MakeRustlsConnect::new(ClientConfig::clone(&settings.tls));
    let (client, connection) = settings.config.connect(tls).await.map_err(|error| connecting(&error))?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection to PostgreSQL ended: {}", shown(&error));
        }
    });
    Ok((client, driver))
}

/// The columns of the server's table, at least one.
pub(super) async fn server_columns(client: &Client, settings: &Settings) -> Result<Vec<ServerColumn>> {
    let target = quoted_target(&settings.target);
    let found = client.query(COLUMNS_QUERY, &[&target]).await.map_err(|error| judged(&error))?;
    if found.is_empty() {
        let name = settings.target_name();
        return Err(Error::config(format!("there is no table {name} in this database"))
            .remedy("create it first; names are taken as they are written, so upper and lower case count"));
    }
    let column = |row: &tokio_postgres::Row| {
        let text = |at| row.try_get::<_, String>(at).unwrap_or_default();
        ServerColumn { name: text(0), kind: text(1), category: text(2), cast: text(3), shown: text(4) }
    };
    Ok(found.iter().map(column).collect())
}

/// A row that the server refuses.
pub(super) struct Refused {
    pub statement: usize,
    pub row: u32,
    pub error: Error,
}

/// The statements of an epoch's transaction.
struct Statements<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    write: &'a Statement,
    remove: Option<&'a Statement>,
    settings: &'a Settings,
}

impl Statements<'_, '_> {
    /// Removes or writes the chosen rows; those that are refused are found in ever smaller parts, each behind a savepoint.
    async fn apply(&mut self, rows: &Rows, chosen: &[u32], is_removal: bool) -> Result<Vec<(u32, Error)>> {
        let all: Vec<usize> = (0..rows.columns.len()).collect();
        let key = self.settings.primary_key.as_slice();
        let (statement, columns) = match (is_removal, self.remove) {
            (false, _) => (self.write, all.as_slice()),
            (true, Some(remove)) => (remove, key),
            (true, None) if chosen.is_empty() => return Ok(Vec::new()),
            (true, None) => return Err(Error::internal("rows are to be removed from a table without a key")),
        };
        let mut refused = Vec::new();
        let mut parts = if chosen.is_empty() { Vec::new() } else { vec![chosen] };
        while let Some(part) = parts.pop() {
            let savepoint = within(self.settings, self.transaction.savepoint("part")).await?;
            let run = execute(savepoint.client(), statement, rows, columns, part);
            let ran = timeout(self.settings.request_timeout, run).await;
            match ran.unwrap_or_else(|_| Err(slow(self.settings))) {
                Ok(()) => within(self.settings, savepoint.commit()).await?,
                Err(error) if error.kind() == ErrorKind::Data => {
                    within(self.settings, savepoint.rollback()).await?;
                    match part {
                        [row] => refused.push((*row, error)),
                        _ => {
                            let (first, second) = part.split_at(part.len() / 2);
                            parts.push(second);
                            parts.push(first);
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

/// What the server answers, in the time that it has.
async fn within<T>(
    settings: &Settings,
    answer: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    match timeout(settings.request_timeout, answer).await {
        Ok(answer) => answer.map_err(|error| judged(&error)),
        Err(_) => Err(slow(settings)),
    }
}

/// The statement that moves progress on, in a table that is made if it is not there.
async fn progress_of(client: &Client, table: &str) -> Result<Statement> {
    let found = client.query_one("SELECT to_regclass($1) IS NULL", &[&table]).await;
    let is_missing = found.and_then(|row| row.try_get::<_, bool>(0)).map_err(|error| judged(&error))?;
    if is_missing {
        // Another that makes it at the same time fails one of the two, which then tries again and finds it.
        client.batch_execute(&create_progress_statement(table)).await.map_err(|error| {
            let error = judged(&error);
            match error.kind() {
                ErrorKind::Data => Error::unavailable(error.to_string()),
                _ => error.remedy(format!("create it: {}", create_progress_statement(table))),
            }
        })?;
    }
    client.prepare(&progress_statement(table)).await.map_err(|error| judged(&error))
}

/// Runs `statement` with `columns` of the chosen rows as its parameters.
async fn execute(
    client: &Client,
    statement: &Statement,
    rows: &Rows,
    columns: &[usize],
    chosen: &[u32],
) -> Result<()> {
    let values: Vec<Chosen<'_>> =
        columns.iter().map(|column| Chosen { column: &rows.columns[*column], rows: chosen }).collect();
    let parameters: Vec<&(dyn ToSql + Sync)> =
        values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    client.execute(statement, &parameters).await.map(|_| ()).map_err(|error| judged(&error))
}

fn slow(settings: &Settings) -> Error {
    Error::unavailable(format!("no answer within {:?}", settings.request_timeout))
        .at(format!("PostgreSQL at {}", settings.server()))
}

/// The error's text with what the server says of the row.
fn shown(error: &tokio_postgres::Error) -> String {
    let Some(server) = error.as_db_error() else {
        return causes(error);
    };
    let detail = server.detail().map_or(String::new(), |detail| format!(" ({detail})"));
    format!("{} [{}]{detail}", server.message(), server.code().code())
}

/// What an error while connecting means: there a failed TLS handshake is somebody's to mend.
fn connecting(error: &tokio_postgres::Error) -> Error {
    let text = shown(error);
    if text.contains("certificate") {
        return Error::config(text).remedy(
            "name the server's authority in 'tls.ca', or add '?sslmode=disable' to the URL to go without TLS",
        );
    }
    if text.contains("password missing") {
        return Error::config("the server asks for a password").remedy("give it in 'password'");
    }
    judged(error)
}

/// What an error of the server or the connection means.
pub(super) fn judged(error: &tokio_postgres::Error) -> Error {
    let text = shown(error);
    let Some(code) = error.code() else { return Error::unavailable(text) };
    let error = Error::new(kind_of(code.code()), text);
    match code.code() {
        "42P10" => error.remedy(
            "the server's table needs a PRIMARY KEY or a UNIQUE constraint on just the columns of the PRIMARY KEY here",
        ),
        "42501" => error.remedy("GRANT the user what it needs: SELECT, INSERT, and with a key UPDATE and DELETE"),
        _ => error,
    }
}

/// The kind of an SQLSTATE, by its class where the class has one meaning.
fn kind_of(code: &str) -> ErrorKind {
    match code {
        // A view's or trigger's own refusal, and a key twice in one statement, are about rows.
        "P0001" | "21000" | "44000" => ErrorKind::Data,
        // Read-only: a standby that may become, or a connection to what was, the primary.
        "25006" => ErrorKind::Unavailable,
        _ => match code.get(..2) {
            Some("22" | "23") => ErrorKind::Data,
            Some("28" | "3D" | "3F" | "42" | "0A" | "54") => ErrorKind::Config,
            _ => ErrorKind::Unavailable,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_kind_that_says_what_helps() {
        for (code, kind) in [
            ("22003", ErrorKind::Data),
            ("23505", ErrorKind::Data),
            ("P0001", ErrorKind::Data),
            ("28P01", ErrorKind::Config),
            ("42P01", ErrorKind::Config),
            ("57P03", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("53100", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
        ] {
            assert_eq!(kind_of(code), kind, "{code}");
        }
    }
}
