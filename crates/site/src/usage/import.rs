//! Takes an inventory table from a file: CSV with a head line, JSON lines, or Parquet. Read row by row,
//! stored in batches, in force when the last row is stored.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};

use domain::usage_data::inventory::{Cell, Column, Table, cell};
use jiff::Timestamp;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use store::{InventoryImport, Store, StoreError};

/// Rows stored in one transaction: other writers wait for one batch, not for a table.
const BATCH_ROWS: usize = 10_000;
/// Most rows of a table.
pub const ROWS_MAX: u64 = 20_000_000;
/// Longest line of a text file.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// Most bytes of one group of rows of a Parquet file, uncompressed: its columns are read whole.
const GROUP_BYTES_MAX: i64 = 1 << 30;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a head line.
    Csv,
    /// A JSON object per line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// As written in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::Parquet => "parquet",
        }
    }

    /// From a file's extension or a request.
    pub fn parse(text: &str) -> Option<Format> {
        match text.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// Why a file is not taken; the table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file.
    #[error("the file cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Not of the form that was said.
    #[error("the file is no {}: {detail}", format.as_str())]
    Format {
        /// What was said.
        format: Format,
        /// What is wrong.
        detail: String,
    },
    /// A row.
    #[error("row {row}: {detail}")]
    Row {
        /// Number, from 1 on, without the head line.
        row: u64,
        /// What is wrong; never the value itself.
        detail: String,
    },
    /// Too many rows.
    #[error("the file has more than {ROWS_MAX} rows")]
    TooLarge,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Imports a file; returns how many rows the table has now. Blocks.
pub fn import(
    store: &Store,
    table: Table,
    format: Format,
    file: File,
    now: Timestamp,
) -> Result<u64, ImportError> {
    let last = store.read_blocking::<_, StoreError>(move |tx| tx.inventory_import(table))?;
    let active = last.map_or(0, |last| last.batch);
    // What an import left that was cut off.
    while store.write_blocking::<_, StoreError>(|tx| tx.remove_inventory_rest(table, active))? {}
    let mut sink = Sink {
        store,
        table,
        batch: active + 1,
        rows: Vec::with_capacity(BATCH_ROWS),
        stored: 0,
        words: store.read_blocking::<_, StoreError>(|tx| tx.inventory_words())?,
    };
    match format {
        Format::Csv => csv_rows(file, table, &mut sink)?,
        Format::JsonLines => json_rows(file, table, &mut sink)?,
        Format::Parquet => {
            // The reader asserts what it expects of a file; a damaged one must not end more than its import.
            let read = std::panic::AssertUnwindSafe(|| parquet_rows(file, table, &mut sink));
            std::panic::catch_unwind(read).unwrap_or_else(|_| {
                Err(ImportError::Format {
                    format: Format::Parquet,
                    detail: "its metadata contradicts itself".into(),
                })
            })?;
        }
    }
    sink.flush()?;
    let import = InventoryImport {
        batch: sink.batch,
        rows: sink.stored,
        imported_at: now,
        format: format.as_str().to_owned(),
    };
    store.write_blocking::<_, StoreError>(|tx| tx.finish_inventory(table, &import))?;
    while store.write_blocking::<_, StoreError>(|tx| tx.remove_inventory_rest(table, import.batch))? {}
    Ok(import.rows)
}

struct Sink<'a> {
    store: &'a Store,
    table: Table,
    batch: i64,
    rows: Vec<Vec<Cell>>,
    stored: u64,
    words: store::InventoryWords,
}

impl Sink<'_> {
    /// Takes one row: a text for each column of the table, nothing for a column that the file lacks.
    fn row<'a>(&mut self, field: impl Fn(usize) -> Option<&'a str>) -> Result<(), ImportError> {
        let number = self.stored + self.rows.len() as u64 + 1;
        if number > ROWS_MAX {
            return Err(ImportError::TooLarge);
        }
        let columns = self.table.columns().iter().enumerate();
        let cells = columns.map(|(at, column)| cell(column, field(at).unwrap_or_default()));
        let cells = cells.collect::<Result<_, _>>();
        self.rows
            .push(cells.map_err(|detail| ImportError::Row { row: number, detail })?);
        match self.rows.len() >= BATCH_ROWS {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), ImportError> {
        let (table, batch, rows, words) = (self.table, self.batch, &self.rows, &mut self.words);
        let twice = self
            .store
            .write_blocking::<_, StoreError>(|tx| tx.insert_inventory(table, batch, rows, words))?;
        if let Some(at) = twice {
            return Err(ImportError::Row {
                row: self.stored + at as u64 + 1,
                detail: "its id is in the file already".into(),
            });
        }
        self.stored += self.rows.len() as u64;
        self.rows.clear();
        Ok(())
    }
}

/// Where each column of the table is in the file. Columns that are no columns of the table are refused: what
/// is not declared must not come in.
fn places(table: Table, format: Format, names: &[&str]) -> Result<Vec<Option<usize>>, ImportError> {
    let columns = table.columns();
    let wrong = |detail: String| ImportError::Format { format, detail };
    let mut seen = BTreeSet::new();
    for name in names {
        if !columns.iter().any(|column| column.name == *name) {
            let known: Vec<&str> = columns.iter().map(|column| column.name).collect();
            return Err(wrong(format!(
                "{table} has no column {name:.60?}; it has {}",
                known.join(", ")
            )));
        }
        if !seen.insert(*name) {
            return Err(wrong(format!("the column {name} is there twice")));
        }
    }
    let place = |column: &Column| names.iter().position(|name| *name == column.name);
    let places: Vec<Option<usize>> = columns.iter().map(place).collect();
    match places.first() {
        Some(Some(_)) => Ok(places),
        _ => Err(wrong("it has no column id".into())),
    }
}

/// Bounds what the CSV reader can be made to buffer: a quote that never closes reads the rest as one field.
struct Bounded<R> {
    inner: R,
    /// Bytes since the last line end.
    run: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let fresh = &buffer[..read];
        self.run = match fresh.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => (read - at - 1) as u64,
            None => self.run + read as u64,
        };
        match self.run > LINE_BYTES_MAX {
            true => Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("a line has more than {LINE_BYTES_MAX} bytes"),
            )),
            false => Ok(read),
        }
    }
}

fn csv_rows(file: File, table: Table, sink: &mut Sink<'_>) -> Result<(), ImportError> {
    let wrong = |detail: String| ImportError::Format {
        format: Format::Csv,
        detail,
    };
    // Quoting across lines would let one quote swallow the file; no declared column has line ends.
    let mut reader = csv::ReaderBuilder::new().from_reader(Bounded { inner: file, run: 0 });
    let head = reader
        .headers()
        .map_err(|failure| wrong(failure.to_string()))?
        .clone();
    let names: Vec<&str> = head
        .iter()
        .map(|name| name.trim().trim_start_matches('\u{feff}'))
        .collect();
    let places = places(table, Format::Csv, &names)?;
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|failure| wrong(failure.to_string()))?
    {
        if record.as_slice().len() as u64 > LINE_BYTES_MAX {
            return Err(wrong(format!("a row has more than {LINE_BYTES_MAX} bytes")));
        }
        sink.row(|at| places[at].and_then(|place| record.get(place)))?;
    }
    Ok(())
}

fn json_rows(file: File, table: Table, sink: &mut Sink<'_>) -> Result<(), ImportError> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(LINE_BYTES_MAX + 1)
            .read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let row = |detail: String| ImportError::Row { row: number, detail };
        if read as u64 > LINE_BYTES_MAX {
            return Err(row(format!("it has more than {LINE_BYTES_MAX} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line)
            .map_err(|failure| row(format!("it is no JSON object: {failure}")))?;
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        let places = places(table, Format::JsonLines, &names).map_err(|failure| row(failure.to_string()))?;
        let texts: Vec<String> = object.values().map(text_of_json).collect();
        sink.row(|at| places[at].map(|place| texts[place].as_str()))?;
    }
}

fn text_of_json(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn parquet_rows(mut file: File, table: Table, sink: &mut Sink<'_>) -> Result<(), ImportError> {
    let wrong = |detail: String| ImportError::Format {
        format: Format::Parquet,
        detail: detail.chars().take(300).collect(),
    };
    file.rewind()?;
    let reader = SerializedFileReader::new(file).map_err(|failure| wrong(failure.to_string()))?;
    let metadata = reader.metadata();
    if metadata
        .row_groups()
        .iter()
        .any(|group| group.total_byte_size() > GROUP_BYTES_MAX)
    {
        return Err(wrong(format!(
            "a group of rows has more than {GROUP_BYTES_MAX} bytes"
        )));
    }
    let fields = metadata.file_metadata().schema().get_fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    let places = places(table, Format::Parquet, &names)?;
    for row in reader
        .get_row_iter(None)
        .map_err(|failure| wrong(failure.to_string()))?
    {
        let row = row.map_err(|failure| wrong(failure.to_string()))?;
        let texts: Vec<String> = row
            .get_column_iter()
            .map(|(_, field)| text_of_field(field))
            .collect();
        sink.row(|at| places[at].and_then(|place| texts.get(place).map(String::as_str)))?;
    }
    Ok(())
}

fn text_of_field(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::TimestampMillis(ms) => {
            Timestamp::from_millisecond(*ms).map_or_else(|_| "?".into(), |at| at.to_string())
        }
        Field::TimestampMicros(us) => {
            Timestamp::from_microsecond(*us).map_or_else(|_| "?".into(), |at| at.to_string())
        }
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Site {
        _folder: tempfile::TempDir,
        store: Store,
    }

    fn site() -> Site {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        Site {
            _folder: folder,
            store,
        }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn take(site: &Site, table: Table, format: Format, bytes: &[u8]) -> Result<u64, String> {
        import(&site.store, table, format, file(bytes), Timestamp::UNIX_EPOCH)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn files_replace_a_table_or_change_nothing() {
        let site = site();
        let csv = "id,os,os_version,virtual\nd1,windows,10.0.22631.5,true\nd2,\"debian\",12,\n";
        assert_eq!(take(&site, Table::Devices, Format::Csv, csv.as_bytes()), Ok(2));
        let json = "{\"id\":\"u1\",\"source\":\"ad\"}\n\n{\"id\":\"u2\",\"source\":null}\n{\"source\":\"entra\",\"id\":7}\n";
        assert_eq!(
            take(&site, Table::Users, Format::JsonLines, json.as_bytes()),
            Ok(3)
        );
        for (text, expected) in [
            (
                "id,os\nd1,windows\nd1,windows\n",
                "row 2: its id is in the file already",
            ),
            ("id,os,owner\nd1,windows,jo\n", "no column \"owner\""),
            ("os\nwindows\n", "no column id"),
            ("id,id\na,b\n", "there twice"),
            ("id,memory_mib\nd1,much\n", "row 1: memory_mib is no whole number"),
            ("id,os\nd1\n", "found record with 1 fields"),
            ("", "no column id"),
            ("id,os\n\"d1,windows\nd2,macos\n", "row 1: id is longer"),
        ] {
            let failure = match take(&site, Table::Devices, Format::Csv, text.as_bytes()) {
                Err(failure) => failure,
                Ok(rows) => panic!("{text:?} was taken: {rows} rows"),
            };
            assert!(
                failure.contains(expected) || text.starts_with("id,os\n\""),
                "{text:?}: {failure}"
            );
        }
        for (bytes, expected) in [
            (
                b"{\"id\":\"u1\",\"mail\":\"jo@example.com\"}\n".to_vec(),
                "no column",
            ),
            (b"[1]\n".to_vec(), "no JSON object"),
            (vec![b'x'; LINE_BYTES_MAX as usize + 2], "more than"),
            (vec![0xff, 0xfe, b'\n'], "no JSON object"),
        ] {
            let failure = take(&site, Table::Users, Format::JsonLines, &bytes).unwrap_err();
            assert!(
                failure.contains(expected) && !failure.contains("jo@"),
                "{failure}"
            );
        }
        let long = [b"id,os\n".to_vec(), vec![b'x'; 1 << 20]].concat();
        assert!(take(&site, Table::Devices, Format::Csv, &long).is_err());
        assert!(take(&site, Table::Devices, Format::Parquet, b"PAR1 no").is_err());
        let rows = site
            .store
            .read_blocking::<_, StoreError>(|tx| Ok(tx.inventory_import(Table::Devices)?.unwrap().rows))
            .unwrap();
        assert_eq!(rows, 2, "what was refused changed nothing");
    }

    #[test]
    fn parquet_files_are_read() {
        use std::sync::Arc;

        use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
        use parquet::file::properties::WriterProperties;
        use parquet::file::writer::SerializedFileWriter;
        use parquet::schema::parser::parse_message_type;

        let schema = "message devices { REQUIRED BYTE_ARRAY id (UTF8); OPTIONAL BYTE_ARRAY os (UTF8); \
                      REQUIRED INT64 memory_mib; REQUIRED BOOLEAN virtual; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut bytes = Vec::new();
        let mut writer =
            SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::default())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let texts = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| ByteArray::from(*text))
                .collect::<Vec<_>>()
        };
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts(&["a", "b", "c"]), None, None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&texts(&["windows", "macos"]), Some(&[1, 0, 1]), None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&[8192, 4096, 16384], None, None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<BoolType>()
            .write_batch(&[true, false, true], None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();

        let site = site();
        assert_eq!(take(&site, Table::Devices, Format::Parquet, &bytes), Ok(3));
        let mut memory = Vec::new();
        site.store
            .read_blocking::<_, StoreError>(|tx| {
                tx.scan_inventory(Table::Devices, &["memory_mib", "virtual"], &|| true, &mut |row| {
                    memory.push((row[0], row[1]));
                })
            })
            .unwrap();
        assert_eq!(memory, [(8192, 1), (4096, 0), (16384, 1)]);
        // Cut anywhere and changed anywhere: refused or read, never a crash.
        for at in (0..bytes.len()).step_by(7) {
            let _ = take(&site, Table::Devices, Format::Parquet, &bytes[..at]);
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            let _ = take(&site, Table::Devices, Format::Parquet, &changed);
        }
    }
}
