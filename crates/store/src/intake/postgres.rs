//! PostgreSQL: a pool of connections, over TLS where the server has it.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::Host;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres_rustls::MakeRustlsConnect;
use zeroize::Zeroizing;

use super::engine::{Field, IntakeStoreError, Ran, Row, Statement};
use crate::migrations::checksum_of;

/// Connections at once.
const CONNECTIONS_MAX: usize = 16;
/// Longest wait for a connection, and for a new one to be made.
const PATIENCE: Duration = Duration::from_secs(15);
/// No statement of ours takes longer than this; one that does waits for a lock that nobody gives up.
const STATEMENT_TIME: &str = "SET statement_timeout = '60s'";
/// Taken while the schema changes, so that two processes do not change it together.
const SCHEMA_LOCK: i64 = 0x7469_6465_6761_7465;

/// A PostgreSQL server.
pub(super) struct Postgres {
    pool: Pool,
    server: String,
}

impl Postgres {
    pub async fn open(
        url: &str,
        password: Option<&Zeroizing<String>>,
        roots_pem: &[u8],
    ) -> Result<Self, IntakeStoreError> {
        let mut config: tokio_postgres::Config = url
            .parse()
            .map_err(|failure: tokio_postgres::Error| IntakeStoreError::Address(with_cause(&failure)))?;
        if config.get_password().is_some() {
            return Err(IntakeStoreError::Address(
                "it has a password in it; put the password into a file and name that as database-password-file".into(),
            ));
        }
        if let Some(password) = password {
            config.password(password.as_bytes());
        }
        config.connect_timeout(PATIENCE);
        config.application_name("tidegate");
        let server = server_of(&config);
        let wrong = |why: String| IntakeStoreError::Server {
            server: server.clone(),
            why,
        };
        let tls = MakeRustlsConnect::new(tls(roots_pem).map_err(wrong)?);
        let manager = Manager::from_config(
            config,
            tls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Verified,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(PATIENCE),
                create: Some(PATIENCE),
                recycle: Some(PATIENCE),
            })
            .build()
            .map_err(|failure| IntakeStoreError::Server {
                server: server.clone(),
                why: failure.to_string(),
            })?;
        let postgres = Postgres { pool, server };
        postgres.migrate().await?;
        Ok(postgres)
    }

    fn failed(&self, failure: &tokio_postgres::Error) -> IntakeStoreError {
        IntakeStoreError::Server {
            server: self.server.clone(),
            why: with_cause(failure),
        }
    }

    async fn client(&self) -> Result<deadpool_postgres::Client, IntakeStoreError> {
        self.pool.get().await.map_err(|failure| IntakeStoreError::Server {
            server: self.server.clone(),
            why: with_cause(&failure),
        })
    }

    async fn migrate(&self) -> Result<(), IntakeStoreError> {
        let mut client = self.client().await?;
        let failed = |failure: tokio_postgres::Error| self.failed(&failure);
        let transaction = client.transaction().await.map_err(failed)?;
        transaction
            .execute("SELECT pg_advisory_xact_lock($1)", &[&SCHEMA_LOCK])
            .await
            .map_err(failed)?;
        transaction
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS schema_step (step BIGINT PRIMARY KEY, checksum BIGINT NOT NULL)",
            )
            .await
            .map_err(failed)?;
        let rows = transaction
            .query("SELECT step, checksum FROM schema_step ORDER BY step", &[])
            .await
            .map_err(failed)?;
        let known = super::STEPS.len() as i64;
        let found = rows.last().map_or(0, |row| row.get::<_, i64>(0));
        if found > known {
            return Err(IntakeStoreError::Newer {
                server: self.server.clone(),
                found,
                known,
            });
        }
        for (at, sql) in super::STEPS.iter().enumerate() {
            let (step, checksum) = (at as i64 + 1, checksum_of(sql));
            match rows.iter().find(|row| row.get::<_, i64>(0) == step) {
                Some(row) if row.get::<_, i64>(1) == checksum => {}
                Some(_) => {
                    return Err(IntakeStoreError::Server {
                        server: self.server.clone(),
                        why: format!(
                            "its schema was made by another text of step {step}; restore the backup made before the change"
                        ),
                    });
                }
                None => {
                    transaction.batch_execute(sql).await.map_err(failed)?;
                    transaction
                        .execute(
                            "INSERT INTO schema_step (step, checksum) VALUES ($1, $2)",
                            &[&step, &checksum],
                        )
                        .await
                        .map_err(failed)?;
                }
            }
        }
        transaction.commit().await.map_err(failed)
    }

    /// Runs statements in one transaction.
    pub async fn run(&self, statements: &[Statement]) -> Result<Vec<Ran>, IntakeStoreError> {
        let mut client = self.client().await?;
        let failed = |failure: tokio_postgres::Error| self.failed(&failure);
        let transaction = client.transaction().await.map_err(failed)?;
        transaction.batch_execute(STATEMENT_TIME).await.map_err(failed)?;
        let mut all = Vec::with_capacity(statements.len());
        for statement in statements {
            let prepared = transaction.prepare_cached(&statement.sql).await.map_err(failed)?;
            let parameters: Vec<&(dyn ToSql + Sync)> = statement
                .parameters
                .iter()
                .map(|field| -> &(dyn ToSql + Sync) {
                    match field {
                        Field::Text(text) => text,
                        Field::Number(number) => number,
                    }
                })
                .collect();
            let mut ran = Ran::default();
            if prepared.columns().is_empty() {
                ran.changed = transaction
                    .execute(&prepared, &parameters)
                    .await
                    .map_err(failed)?;
            } else {
                for row in transaction.query(&prepared, &parameters).await.map_err(failed)? {
                    let field = |at: usize| {
                        let column = &prepared.columns()[at];
                        match *column.type_() {
                            Type::INT8 => row
                                .try_get::<_, Option<i64>>(at)
                                .map(|n| Field::Number(n.unwrap_or(0))),
                            _ => row
                                .try_get::<_, Option<String>>(at)
                                .map(|t| Field::Text(t.unwrap_or_default())),
                        }
                    };
                    let fields = (0..prepared.columns().len()).map(field).collect::<Result<_, _>>();
                    ran.rows.push(Row(fields.map_err(failed)?));
                }
            }
            all.push(ran);
        }
        transaction.commit().await.map_err(failed)?;
        Ok(all)
    }
}

/// Host and database, for errors.
fn server_of(config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "without a host".to_owned(),
    };
    format!("{host}/{}", config.get_dbname().unwrap_or_default())
}

fn tls(roots_pem: &[u8]) -> Result<rustls::ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    // Certificates of the platform that cannot be read trust nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(roots_pem) {
        let certificate = certificate.map_err(|failure| failure.to_string())?;
        roots.add(certificate).map_err(|failure| failure.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|failure| failure.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn with_cause(failure: &dyn std::error::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(deeper) = cause {
        text.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    text
}
