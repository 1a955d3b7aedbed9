//! The inventory interface: its tables, and files that replace them.

use std::path::Path;

use domain::usage_data::inventory::Table as InventoryTable;
use protocol::api::{InventoryInfo, InventoryQuery};

use super::super::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::Table;

pub(super) async fn show(cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let tables: Vec<InventoryInfo> = cx.client()?.get("/inventory").await?;
    if output.json {
        return output.json(&tables);
    }
    let mut table = Table::new(&["Table", "Rows", "Imported", "From"]);
    table.right(1);
    for info in tables {
        table.row([
            info.table.into(),
            info.rows.map_or("-".to_owned(), |rows| rows.to_string()).into(),
            output.when_if(info.imported).into(),
            info.format.unwrap_or_else(|| "-".to_owned()).into(),
        ]);
    }
    table.print(output)
}

pub(super) fn tables(output: &Output) -> Result<(), Failure> {
    if output.json {
        let tables = InventoryTable::ALL.map(|table| {
            let columns: Vec<serde_json::Value> = table
                .columns()
                .iter()
                .map(|column| {
                    serde_json::json!({"name": column.name, "holds": column.kind.describe(), "meaning": column.meaning})
                })
                .collect();
            serde_json::json!({"table": table.as_str(), "columns": columns})
        });
        return output.json(&tables);
    }
    let mut shown = Table::new(&["Table", "Column", "Holds", "Meaning"]);
    for table in InventoryTable::ALL {
        for column in table.columns() {
            shown.row([
                table.as_str().into(),
                column.name.into(),
                column.kind.describe().into(),
                column.meaning.into(),
            ]);
        }
    }
    shown.print(output)
}

pub(super) async fn import(table: InventoryTable, file: &Path, cx: &Context) -> Result<(), Failure> {
    let format = match file.extension().and_then(|extension| extension.to_str()) {
        Some(format @ ("csv" | "jsonl" | "ndjson" | "parquet")) => format.to_owned(),
        _ => {
            return Err(Failure::usage(format!(
                "{} ends in none of .csv, .jsonl and .parquet",
                file.display()
            )));
        }
    };
    let opened = tokio::fs::File::open(file)
        .await
        .map_err(|failure| Failure::new(format!("cannot read {}: {failure}", file.display())))?;
    let info: InventoryInfo = cx
        .client()?
        .put_file(&format!("/inventory/{table}"), &InventoryQuery { format }, opened)
        .await?;
    if cx.output.json {
        return cx.output.json(&info);
    }
    cx.output.line(format_args!(
        "{table} has {} rows now",
        info.rows.unwrap_or_default()
    ))
}
