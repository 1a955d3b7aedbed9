//! The sample feed as a site reads it.

use std::collections::BTreeSet;

use cloud::sample;

use crate::support::now;

#[test]
fn six_packages_that_share_content_and_nothing_is_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("service");
    let (mut bytes, mut new_bytes) = (0, Vec::new());
    let records = sample::generate(&dir, now(), 7, &mut |step| {
        if let sample::SampleProgress::Published {
            bytes: of_package,
            new_bytes: new,
        } = step
        {
            bytes += of_package;
            new_bytes.push(new);
        }
    })
    .unwrap();
    assert_eq!(records.len(), 6);
    assert!((40_000_000..70_000_000).contains(&bytes), "{bytes} bytes");
    // The second release of a line costs a fraction of the first.
    assert!(new_bytes[1] * 2 < new_bytes[0], "{new_bytes:?}");
    let types: BTreeSet<&str> = records.iter().map(|record| record.update_type.as_str()).collect();
    assert_eq!(types, BTreeSet::from(["hotfix", "preview", "update"]));
    let again = sample::generate(&dir, now(), 7, &mut |step| panic!("{step:?}")).unwrap();
    assert_eq!(again, records);
}
