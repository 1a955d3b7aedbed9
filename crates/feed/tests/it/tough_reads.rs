//! `tough`, an independent reader, loads what we publish and reads a target from it.
//!
//! Its one known departure from the specification is met in the transport: for a target in a folder it asks for
//! `<hash>.folder/file` where the file is `folder/<hash>.file`.

use feed::publisher::InitSpec;
use futures_util::TryStreamExt;
use tough::{
    FilesystemTransport, RepositoryLoader, TargetName, Transport, TransportError, TransportStream,
    async_trait,
};
use url::Url;

use crate::publisher::{Vendor, publish};
use crate::repository::now;

#[derive(Debug, Clone)]
struct FolderNames;

#[async_trait]
impl Transport for FolderNames {
    async fn fetch(&self, mut url: Url) -> Result<TransportStream, TransportError> {
        let path = url.path().to_owned();
        if let Some((before, after)) = path.split_once("/targets/")
            && let Some((hash, rest)) = after.split_once('.')
            && let Some((folder, file)) = rest.rsplit_once('/')
        {
            url.set_path(&format!("{before}/targets/{folder}/{hash}.{file}"));
        }
        FilesystemTransport.fetch(url).await
    }
}

#[tokio::test]
async fn tough_reads_what_we_publish() {
    // tough looks at the clock of the machine, so this feed starts when the machine says.
    let (vendor, mut publisher) = Vendor::new(&InitSpec {
        bins: 16,
        ..InitSpec::default()
    });
    let targets = ["catalogue/0.jsonl.zst", "payloads/a/index", "top.txt"];
    for path in targets {
        publish(&mut publisher, path, path.as_bytes());
    }
    publisher.commit(now()).unwrap();
    publisher
        .rotate_root(
            &vendor.root_keys(),
            &Default::default(),
            &mut vendor.rng.clone(),
            now(),
        )
        .unwrap();
    let base = Url::from_directory_path(vendor.repository()).unwrap();
    let root = std::fs::read(vendor.repository().join("metadata/1.root.json")).unwrap();
    let repository = RepositoryLoader::new(
        &root,
        base.join("metadata/").unwrap(),
        base.join("targets/").unwrap(),
    )
    .transport(FolderNames)
    .expiration_enforcement(tough::ExpirationEnforcement::Safe)
    .load()
    .await
    .unwrap();
    assert_eq!(repository.root().signed.version.get(), 2);
    assert_eq!(repository.all_targets().count(), targets.len());
    for path in targets {
        let name = TargetName::new(path).unwrap();
        let stream = repository.read_target(&name).await.unwrap().unwrap();
        let chunks: Vec<_> = stream.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), path.as_bytes());
    }
}
