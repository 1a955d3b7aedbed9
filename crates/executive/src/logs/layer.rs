//! Routes every event to the log of the component in whose span it happened.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use domain::component::{ComponentName, LogLevel};
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::format::{Gravity, Line, format};
use super::rolling::RollingFile;
use crate::clock::Clock;

/// Longest message that is logged; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Where and how logs are written.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// Folder of the log files.
    pub folder: PathBuf,
    /// Bytes per file before it rolls over.
    pub bytes_max: u64,
    /// Whether the rolled-over file is kept.
    pub history: bool,
    /// Time zone of the lines.
    pub zone: TimeZone,
    /// Time of the lines.
    pub clock: Clock,
}

struct Shared {
    settings: LogSettings,
    files: Mutex<HashMap<ComponentName, RollingFile>>,
    levels: HashMap<ComponentName, AtomicU8>,
}

/// The layer; clones share the files and levels.
#[derive(Clone)]
pub struct CmTraceLayer {
    shared: Arc<Shared>,
}

impl CmTraceLayer {
    /// Logs into a folder that exists.
    pub fn new(settings: LogSettings) -> Self {
        let levels = ComponentName::ALL
            .into_iter()
            .map(|name| (name, AtomicU8::new(LogLevel::Default.code())))
            .collect();
        CmTraceLayer {
            shared: Arc::new(Shared {
                settings,
                files: Mutex::default(),
                levels,
            }),
        }
    }

    /// Changes how much a component logs, at once.
    pub fn set_level(&self, component: ComponentName, level: LogLevel) {
        if let Some(current) = self.shared.levels.get(&component) {
            current.store(level.code(), Ordering::Relaxed);
        }
    }

    /// How much a component logs.
    pub fn level(&self, component: ComponentName) -> LogLevel {
        let code = self
            .shared
            .levels
            .get(&component)
            .map_or(1, |level| level.load(Ordering::Relaxed));
        LogLevel::from_code(code).unwrap_or(LogLevel::Default)
    }

    fn write(&self, component: ComponentName, gravity: Gravity, source: &str, text: &str) {
        let settings = &self.shared.settings;
        let wanted = match self.level(component) {
            LogLevel::Verbose => true,
            LogLevel::Default => gravity >= Gravity::Information,
            LogLevel::WarningsAndErrors => gravity >= Gravity::Warning,
            LogLevel::ErrorsOnly => gravity >= Gravity::Error,
        };
        if !wanted {
            return;
        }
        let thread = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let line = |gravity, text: &str| {
            let line = Line {
                at: settings.clock.now(),
                component: component.as_str(),
                gravity,
                thread,
                source,
                text,
            };
            format(&line, component.log_form(), &settings.zone)
        };
        let mut files = self.shared.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.entry(component).or_insert_with(|| {
            RollingFile::new(
                settings.folder.join(component.log_file()),
                settings.bytes_max,
                settings.history,
            )
        });
        file.write(&line(gravity, text), |lost| {
            line(
                Gravity::Warning,
                &format!("{lost} line(s) of this log could not be written and are lost"),
            )
        });
    }
}

/// Kept with a component's span.
struct SpanComponent(ComponentName);

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for CmTraceLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "component" {
            return;
        }
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Ok(name)) = (context.span(id), fields.component.parse::<ComponentName>()) {
            span.extensions_mut().insert(SpanComponent(name));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let of_span = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| {
                span.extensions()
                    .get::<SpanComponent>()
                    .map(|component| component.0)
            })
        });
        let metadata = event.metadata();
        let gravity = match *metadata.level() {
            Level::ERROR => Gravity::Error,
            Level::WARN => Gravity::Warning,
            Level::INFO => Gravity::Information,
            Level::DEBUG | Level::TRACE => Gravity::Verbose,
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = fields.text();
        if text.len() > MESSAGE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
            text.push('…');
        }
        let file = metadata
            .file()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or_default();
        let source = format!("{file}:{}", metadata.line().unwrap_or(0));
        self.write(
            of_span.unwrap_or(ComponentName::Executive),
            gravity,
            &source,
            &text,
        );
    }
}

#[derive(Default)]
struct Fields {
    component: String,
    message: String,
    others: String,
}

impl Fields {
    fn text(self) -> String {
        if self.others.is_empty() {
            self.message
        } else {
            format!("{} [{}]", self.message, self.others.trim_end())
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, "{name}={value:?} "),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "component" => value.clone_into(&mut self.component),
            "message" => self.message.push_str(value),
            name => {
                let _ = write!(self.others, "{name}={value} ");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn events_go_to_the_log_of_their_component() {
        let folder = tempfile::tempdir().unwrap();
        let layer = CmTraceLayer::new(LogSettings {
            folder: folder.path().to_owned(),
            bytes_max: 100_000,
            history: true,
            zone: TimeZone::UTC,
            clock: Clock::Fake(crate::FakeClock::new(jiff::Timestamp::UNIX_EPOCH)),
        });
        let subscriber = tracing_subscriber::registry().with(layer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("component", component = "SMS_DMP_DOWNLOADER");
            span.in_scope(|| {
                tracing::info!(package = 7, "found it");
                tracing::debug!("too much");
                layer.set_level(ComponentName::DmpDownloader, LogLevel::ErrorsOnly);
                tracing::warn!("not now");
                tracing::error!("this");
            });
            tracing::info!("of nobody");
        });
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let log = read("Dmpdownloader.log");
        let lines: Vec<&str> = log
            .lines()
            .map(|line| line.split("  $$<").next().unwrap())
            .collect();
        assert_eq!(lines, ["found it [package=7]", "ERROR: this"]);
        assert!(
            read("smsexec.log")
                .starts_with("of nobody  $$<SMS_EXECUTIVE><01-01-1970 00:00:00.000+000><thread=")
        );
    }
}
