//! The reference of faults is this module's table.

use super::fault::Fault;

#[test]
fn the_reference_lists_every_fault() {
    let mut table =
        String::from("| Code | Phase | Who has to act | What to do |\n| --- | --- | --- | --- |\n");
    for fault in Fault::ALL {
        table.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            fault.code(),
            fault.phase().as_str(),
            fault.party(),
            fault.template()
        ));
    }
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/endpoints.md");
    let text = std::fs::read_to_string(page).unwrap_or_default();
    assert!(text.contains(&table), "{page} lacks this table:\n{table}");
}
