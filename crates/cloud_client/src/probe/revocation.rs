//! Whether certificates were revoked: the lists that they name, fetched over plain HTTP.

use std::sync::Arc;

use domain::connectivity::{Address, Fault};
use rustls::CertificateError;
use rustls_pki_types::{CertificateRevocationListDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Prober;
use super::secure::unix;
use super::walk::Walk;
use crate::certificate;
use crate::dial::{Trouble, connect};
use crate::head::Head;
use crate::proxy::Request;
use crate::tls::{Recorder, Shown};
use crate::way::Stream;

/// Largest list that is read.
const LIST_MAX: u64 = 16 * 1024 * 1024;

impl Prober {
    /// Asks every list that the chain names.
    pub(super) async fn revoked(&self, shown: &Shown, host: &str, walk: &Walk<'_>) -> Result<(), Trouble> {
        let mut lists = Vec::new();
        for der in std::iter::once(&shown.end_entity).chain(&shown.intermediates) {
            let Some(summary) = certificate::summary(der) else {
                continue;
            };
            let urls = summary.crl_urls.iter().filter(|url| url.starts_with("http://"));
            for url in urls.take(1) {
                let list = self.list(url, walk).await?;
                lists.push(CertificateRevocationListDer::from(list.as_ref().clone()));
            }
        }
        if lists.is_empty() {
            return Ok(());
        }
        let recorder = Recorder::new(&self.way.roots, lists, unix(walk.now));
        let Ok(name) = ServerName::try_from(host.to_owned()) else {
            return Ok(());
        };
        match recorder.judge(&shown.end_entity, &shown.intermediates, &name, &[]) {
            Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)) => {
                let summary = certificate::summary(&shown.end_entity);
                let subject = summary.map_or_else(String::new, |summary| summary.subject);
                Err(Trouble::new(
                    Fault::CertRevoked,
                    format!("a list of its issuer names the chain of {subject}"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// A list, fetched once per run.
    async fn list(&self, url: &str, walk: &Walk<'_>) -> Result<Arc<Vec<u8>>, Trouble> {
        let mut lists = self.lists.lock().await;
        if let Some(known) = lists.get(url) {
            return known.clone();
        }
        let fetched = self
            .fetch_list(url, walk)
            .await
            .map(Arc::new)
            .map_err(|text| Trouble::new(Fault::CertRevocationUnreachable, format!("{url}: {text}")));
        lists.insert(url.to_owned(), fetched.clone());
        fetched
    }

    async fn fetch_list(&self, url: &str, walk: &Walk<'_>) -> Result<Vec<u8>, String> {
        let address = protocol::connectivity::parse_address(url)?;
        let fetching = self.fetch_plain(&address, walk);
        tokio::time::timeout(self.way.limits.http, fetching)
            .await
            .map_err(|_| "no answer in time".to_owned())?
    }

    async fn fetch_plain(&self, address: &Address, walk: &Walk<'_>) -> Result<Vec<u8>, String> {
        let proxy = walk.proxy.filter(|proxy| !proxy.settings.bypasses(&address.host));
        let (stream, head): (Box<dyn Stream>, Head) = match proxy {
            Some(proxy) => {
                let url = format!("http://{}{}", address.host_header(), address.path);
                let request = Request::Plain {
                    method: "GET",
                    url: &url,
                };
                let opened = self
                    .way
                    .tunnel(proxy, &address.host_header(), request, walk.now)
                    .await;
                let opened = opened.map_err(|trouble| trouble.evidence)?;
                (opened.stream, opened.head)
            }
            None => {
                let told = |trouble: Trouble| trouble.evidence;
                let addresses = self
                    .way
                    .resolver
                    .addresses(&address.host, self.way.limits.dns)
                    .await
                    .map_err(told)?;
                let mut stream = connect(&addresses, address.port, self.way.limits.tcp)
                    .await
                    .map_err(told)?
                    .stream;
                let request = format!(
                    "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate\r\nConnection: close\r\n\r\n",
                    address.path,
                    address.host_header()
                );
                stream
                    .write_all(request.as_bytes())
                    .await
                    .map_err(|failure| failure.to_string())?;
                let head = Head::read(&mut stream)
                    .await
                    .map_err(|failure| failure.to_string())?;
                (Box::new(stream), head)
            }
        };
        if head.status != 200 {
            return Err(format!("it answered {}", head.status));
        }
        let mut body = head.rest.clone();
        let length = head
            .content_length()
            .ok_or("it does not tell the length of the list")?;
        if length > LIST_MAX {
            return Err(format!(
                "the list has {length} bytes, more than {LIST_MAX} are not read"
            ));
        }
        let left = length.saturating_sub(body.len() as u64);
        let read = stream
            .take(left)
            .read_to_end(&mut body)
            .await
            .map_err(|failure| failure.to_string())?;
        match read as u64 == left {
            true => Ok(body),
            false => Err("the list was cut off".to_owned()),
        }
    }
}
