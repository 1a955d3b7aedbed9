//! Sends one mail to one receiver over SMTP: whom the server refuses costs the others nothing. A mail server is a service of the hierarchy's own network: it is reached directly, which
//! no HTTP proxy would help with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use zeroize::Zeroizing;

/// Characters of base64 in a line of a mail.
const LINE_CHARACTERS: usize = 76;
/// Bytes in one encoded word of a heading: with its frame it stays below the 75 characters that one may have.
const WORD_BYTES: usize = 42;

/// How the way to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the first byte.
    Implicit,
    /// TLS after STARTTLS; a server that does not offer it gets nothing.
    StartTls,
    /// None: for a relay that wants no password.
    Off,
}

/// A mail server, and who writes to whom.
#[derive(Clone)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Protection.
    pub tls: MailTls,
    /// Account; never sent without TLS.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// Certificates (PEM) trusted beside the platform's.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// Sender.
    pub from: String,
    /// Receivers, all of whom a mail names.
    pub to: Vec<String>,
    /// What this machine calls itself.
    pub hello: String,
    /// How long each step may take.
    pub patience: Duration,
}

/// A mail of plain text.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// Its key: the same mail sent again has the same `Message-ID`.
    pub key: &'a str,
    /// Subject.
    pub subject: &'a str,
    /// Text.
    pub text: &'a str,
    /// When it was written.
    pub at: Timestamp,
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address that is none.
    #[error("{address:?} is no mail address")]
    Address {
        /// The address.
        address: String,
    },
    /// The server cannot be reached, or refuses.
    #[error("{host}: {why}")]
    Server {
        /// The server.
        host: String,
        /// What happened.
        why: String,
        /// Other receivers would fare the same: it cannot be reached, lets nobody in, or is closing.
        for_all: bool,
    },
}

impl MailError {
    /// Whether trying another receiver is of use.
    pub fn is_for_all(&self) -> bool {
        match self {
            MailError::Address { .. } => false,
            MailError::Server { for_all, .. } => *for_all,
        }
    }
}

/// Answers that speak of the server or of the account, whoever is to get the mail (RFC 5321, 4.2.3; RFC 4954, 6).
fn speaks_of_all(code: u16) -> bool {
    matches!(code, 421 | 432 | 454 | 530 | 534 | 535 | 538)
}

/// Whether a text is a mail address.
pub fn is_mail_address(text: &str) -> bool {
    text.is_ascii() && text.parse::<Address>().is_ok()
}

impl MailServer {
    /// Hands over one mail for one of the receivers.
    pub async fn send(&self, mail: Mail<'_>, receiver: &str) -> Result<(), MailError> {
        let address = |text: &str| {
            text.parse::<Address>()
                .ok()
                .filter(|_| text.is_ascii())
                .ok_or_else(|| MailError::Address {
                    address: text.to_owned(),
                })
        };
        let from = address(&self.from)?;
        let to = vec![address(receiver)?];
        let domain = from.domain().to_owned();
        let envelope = Envelope::new(Some(from), to).map_err(|failure| self.failed(&failure, true))?;
        let tls = match self.tls {
            MailTls::Implicit => Tls::Wrapper(self.tls_parameters()?),
            MailTls::StartTls => Tls::Required(self.tls_parameters()?),
            MailTls::Off => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(self.host.clone())
            .port(self.port)
            .hello_name(ClientId::Domain(self.hello.clone()))
            .timeout(Some(self.patience))
            .tls(tls);
        if let (Some((user, password)), MailTls::Implicit | MailTls::StartTls) = (&self.credentials, self.tls)
        {
            transport = transport.credentials(Credentials::new(user.clone(), password.to_string()));
        }
        let bytes = written(&self.from, &self.to, &domain, mail);
        let sent = transport.build().send_raw(&envelope, bytes.as_bytes()).await;
        sent.map(drop).map_err(|failure| {
            let for_all = failure.status().is_none_or(|code| speaks_of_all(code.into()));
            self.failed(&failure, for_all)
        })
    }

    fn tls_parameters(&self) -> Result<TlsParameters, MailError> {
        let mut builder = TlsParameters::builder(self.host.clone());
        for pem in &self.extra_roots_pem {
            let certificate = Certificate::from_pem(pem).map_err(|failure| self.failed(&failure, true))?;
            builder = builder.add_root_certificate(certificate);
        }
        builder
            .build_rustls()
            .map_err(|failure| self.failed(&failure, true))
    }

    fn failed(&self, failure: &dyn std::error::Error, for_all: bool) -> MailError {
        let mut why = failure.to_string();
        let mut cause = failure.source();
        while let Some(deeper) = cause {
            why.push_str(": ");
            why.push_str(&deeper.to_string());
            cause = deeper.source();
        }
        MailError::Server {
            host: self.host.clone(),
            why: why.chars().filter(|c| !c.is_control()).take(300).collect(),
            for_all,
        }
    }
}

/// The mail as it is sent (RFC 5322, MIME). Texts are encoded whole, so that nothing in them is a heading or an end.
fn written(from: &str, to: &[String], domain: &str, mail: Mail<'_>) -> String {
    let body = STANDARD.encode(mail.text);
    let mut lines = Vec::new();
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_CHARACTERS));
        lines.push(line);
        rest = after;
    }
    let date = mail.at.to_zoned(TimeZone::UTC);
    let date = date.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let key: String = mail
        .key
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    format!(
        "From: <{from}>\r\nTo: {}\r\nSubject: {}\r\nDate: {date}\r\nMessage-ID: <{key}@{domain}>\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
        to.iter()
            .map(|address| format!("<{address}>"))
            .collect::<Vec<_>>()
            .join(",\r\n "),
        encoded_words(mail.subject),
        lines.join("\r\n")
    )
}

/// A heading's text in encoded words (RFC 2047), one a line.
fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mail<'a>(subject: &'a str, text: &'a str) -> Mail<'a> {
        Mail {
            key: "a-1",
            subject,
            text,
            at: "2026-11-21T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_mail_is_that_of_rfc_5322() {
        let to = ["b@x.example".to_owned(), "c@x.example".to_owned()];
        assert_eq!(
            written("a@x.example", &to, "x.example", mail("Hi", "Text")),
            "From: <a@x.example>\r\nTo: <b@x.example>,\r\n <c@x.example>\r\nSubject: =?utf-8?B?SGk=?=\r\n\
             Date: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <a-1@x.example>\r\n\
             Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nVGV4dA==\r\n"
        );
        assert!(is_mail_address("a@x.example"));
        assert!(!is_mail_address("a") && !is_mail_address("a@x\r\nBcc: b@y"));
    }

    #[test]
    fn only_answers_about_a_receiver_let_others_be_tried() {
        assert!([421, 454, 530, 535].into_iter().all(speaks_of_all));
        assert!(![450, 452, 550, 552, 554].into_iter().any(speaks_of_all));
    }

    proptest! {
        #[test]
        fn texts_never_become_headings(subject in ".{0,300}", text in ".{0,300}") {
            let to = ["b@x.example".to_owned()];
            let bytes = written("a@x.example", &to, "x.example", mail(&subject, &text));
            let (head, _) = bytes.split_once("\r\n\r\n").unwrap();
            let headings = head.split("\r\n").filter(|line| !line.starts_with(' '));
            prop_assert_eq!(headings.count(), 9);
            prop_assert!(bytes.is_ascii() && bytes.lines().all(|line| line.len() <= 78));
        }
    }
}
