//! Where checkpoints go: a URL, and the object store that answers there.
//!
//! `s3://BUCKET/FOLDER` is any store that speaks like S3, found and signed in to by the environment variables of its own tools
//! (`AWS_…`); `file:///FOLDER` is a mounted disk. Requests are tried again for a while before they fail; what is bigger than a
//! part is sent in parts, each of which is. What a store answers instead is failure.rs's.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use millstream_engine::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ObjectStore, ObjectStoreExt, RetryConfig, WriteMultipart,
};

use super::failure;

/// What is bigger is sent in parts. The least that S3 takes.
const PART_BYTES: u64 = 5 << 20;
/// S3 takes 10,000 parts of an object.
const PARTS_MAX: u64 = 9_000;
/// Parts that are on their way at once, which is what an upload has in memory.
const PARTS_ON_THE_WAY: usize = 2;
/// A request that takes longer is given up: a part at 150 kbit/s.
const REQUEST_TIMEOUT: &str = "300 seconds";
const CONNECT_TIMEOUT: &str = "10 seconds";
/// Between two attempts at a request: at least, and at most.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A part that took long may be tried again; signatures are good for little longer.
const RETRYING_MAX: Duration = Duration::from_secs(290);

/// How often a request is tried again where somebody waits for it: some seconds in all.
pub const RETRIES_OF_A_COMMAND: usize = 4;
/// The same behind a pipeline that runs: ten seconds at least, so that a short break does not cost what was sent before it.
pub const RETRIES_OF_AN_UPLOAD: usize = 10;

/// See the module's page.
#[derive(Clone)]
pub struct Place {
    url: String,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Of `file://`.
    folder: Option<PathBuf>,
}

/// An object in a folder of the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its name in the folder.
    pub name: String,
    pub bytes: u64,
}

impl fmt::Debug for Place {
    /// The store knows who signs in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.url).finish()
    }
}

impl Place {
    /// Reads `url` and the environment. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// If it is no URL of a store that is known here, or the environment is wrong.
    pub fn open(url: &str, retries: usize) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let (scheme, rest) = url.split_once("://").ok_or_else(|| not_a_url(url))?;
        match scheme {
            "s3" | "s3a" => Self::s3(url, rest, retries),
            "file" => Self::file(url, rest),
            _ => Err(not_a_url(url)),
        }
    }

    fn s3(url: &str, rest: &str, retries: usize) -> Result<Self> {
        if rest.contains('@') {
            // Not repeated: what stands in front of it is a secret.
            return Err(Error::config("the URL of a bucket has no credentials in it").remedy(
                "write s3://BUCKET/FOLDER, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Path::parse(prefix)
            .ok()
            .filter(|_| !bucket.is_empty() && !rest.contains(['?', '#']) && !rest.contains("//"));
        let prefix = prefix.ok_or_else(|| not_a_url(url))?;
        let is_plain = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
            .iter()
            .any(|name| std::env::var(name).is_ok_and(|endpoint| endpoint.starts_with("http://")));
        let is_allowed = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|allow| {
            ["1", "true", "on", "yes", "y"].contains(&allow.to_ascii_lowercase().as_str())
        });
        if is_plain && !is_allowed {
            return Err(Error::config("the endpoint in the environment is http://, which is not encrypted")
                .at(url)
                .remedy("set AWS_ENDPOINT_URL to https://…, or AWS_ALLOW_HTTP=true where that is meant"));
        }
        let client = |key| AmazonS3ConfigKey::Client(key);
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: BACKOFF_MIN,
                max_backoff: BACKOFF_MAX,
                ..BackoffConfig::default()
            },
            max_retries: retries,
            retry_timeout: RETRYING_MAX,
        });
        for (key, name, value) in [
            (ClientConfigKey::Timeout, "AWS_TIMEOUT", REQUEST_TIMEOUT),
            (ClientConfigKey::ConnectTimeout, "AWS_CONNECT_TIMEOUT", CONNECT_TIMEOUT),
        ] {
            if std::env::var_os(name).is_none() {
                builder = builder.with_config(client(key), value);
            }
        }
        let store = builder.build().map_err(|error| {
            Error::config(format!("the store cannot be reached like this: {error}"))
                .at(url)
                .remedy("check the variables AWS_… of the environment")
        })?;
        Ok(Self { url: url.to_owned(), store: Arc::new(store), prefix, folder: None })
    }

    fn file(url: &str, rest: &str) -> Result<Self> {
        let prefix = Path::parse(rest).ok().filter(|_| rest.starts_with('/'));
        let prefix = prefix.ok_or_else(|| not_a_url(url))?;
        let folder = Some(PathBuf::from(rest));
        // Folders go with the last of their files, as they do in a bucket.
        let store = LocalFileSystem::new().with_automatic_cleanup(true);
        Ok(Self { url: url.to_owned(), store: Arc::new(store), prefix, folder })
    }

    /// A store in memory, for tests.
    #[cfg(test)]
    pub fn in_memory(store: Arc<dyn ObjectStore>) -> Self {
        Self { url: "memory://tests".into(), store, prefix: Path::from("fleet/gateway-7"), folder: None }
    }

    /// What it is called, with the name of something inside where that is not empty.
    pub fn url(&self, inside: &str) -> String {
        if inside.is_empty() { self.url.clone() } else { format!("{}/{inside}", self.url) }
    }

    fn path(&self, inside: &str) -> Path {
        // Names with characters that a store does not take are none of ours: see manifest.rs.
        let parts = inside.split('/').filter(|part| !part.is_empty());
        let inside = parts.collect::<Vec<_>>().join("/");
        let all = if self.prefix.as_ref().is_empty() { inside } else { format!("{}/{inside}", self.prefix) };
        Path::parse(all).unwrap_or_default()
    }

    /// A disk that is not mounted looks like a folder that is not there, and writing would fill the disk under it.
    fn check_mounted(&self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        match folder.parent() {
            Some(above) if !above.is_dir() => {
                Err(Error::unavailable(format!("there is no folder {}", above.display()))
                    .at(&self.url)
                    .remedy("mount the disk, or make the folder"))
            }
            _ => Ok(()),
        }
    }

    /// The folders in it.
    pub async fn folders(&self) -> Result<Vec<String>> {
        self.check_mounted()?;
        let listed = self.store.list_with_delimiter(Some(&self.prefix)).await;
        let listed = match listed {
            // A folder that nothing was put into.
            Err(object_store::Error::NotFound { .. }) if self.folder.is_some() => return Ok(Vec::new()),
            listed => listed.map_err(|error| self.failed("listed", "", &error))?,
        };
        Ok(listed.common_prefixes.iter().filter_map(|path| Some(path.filename()?.to_owned())).collect())
    }

    /// The objects in a folder of it, and in the folders inside that.
    pub async fn objects(&self, folder: &str) -> Result<Vec<Object>> {
        let path = self.path(folder);
        let listed: Vec<_> = self
            .store
            .list(Some(&path))
            .try_collect()
            .await
            .map_err(|error| self.failed("listed", folder, &error))?;
        let name = |object: &object_store::ObjectMeta| {
            Some(object.location.as_ref().strip_prefix(path.as_ref())?.trim_start_matches('/').to_owned())
        };
        Ok(listed
            .iter()
            .filter_map(|object| Some(Object { name: name(object)?, bytes: object.size }))
            .collect())
    }

    /// All bytes of a small object; none where there is none.
    pub async fn read(&self, name: &str, bytes_max: u64) -> Result<Option<Bytes>> {
        self.check_mounted()?;
        let got = match self.store.get(&self.path(name)).await {
            // Also what a bucket that is not there answers.
            Err(object_store::Error::NotFound { source, .. })
                if !source.to_string().contains("NoSuchBucket") =>
            {
                return Ok(None);
            }
            got => got.map_err(|error| self.failed("read", name, &error))?,
        };
        if got.meta.size > bytes_max {
            return Err(Error::state(format!("it is longer than {bytes_max} bytes")).at(self.url(name)));
        }
        got.bytes().await.map(Some).map_err(|error| self.failed("read", name, &error))
    }

    /// The bytes of an object, one piece after the other, given to `take`.
    pub async fn stream(&self, name: &str, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let failed = |error| self.failed("read", name, &error);
        let mut pieces = self.store.get(&self.path(name)).await.map_err(failed)?.into_stream();
        while let Some(piece) = pieces.try_next().await.map_err(failed)? {
            take(&piece)?;
        }
        Ok(())
    }

    /// Writes an object of `bytes` bytes, which `read` gives from an offset on, at most so many. It is whole or not there.
    pub async fn write(
        &self,
        name: &str,
        bytes: u64,
        mut read: impl FnMut(u64, usize) -> Result<Bytes>,
    ) -> Result<()> {
        self.check_mounted()?;
        let path = self.path(name);
        let failed = |error| self.failed("written", name, &error);
        if bytes <= PART_BYTES {
            let all = read(0, PART_BYTES as usize)?;
            self.store.put(&path, all.into()).await.map_err(failed)?;
            return self.sync(&path);
        }
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX)) as usize;
        let upload = self.store.put_multipart(&path).await.map_err(failed)?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, part_bytes);
        let mut offset = 0;
        while offset < bytes {
            let sent = match parts.wait_for_capacity(PARTS_ON_THE_WAY).await {
                Ok(()) => read(offset, part_bytes),
                Err(error) => Err(failed(error)),
            };
            match sent {
                Ok(part) => {
                    offset += part.len() as u64;
                    parts.put(part);
                }
                Err(error) => {
                    // Parts that stay are paid for. What cannot be taken away now is the bucket's own rule's.
                    let _ = parts.abort().await;
                    return Err(error);
                }
            }
        }
        parts.finish().await.map_err(failed)?;
        self.sync(&path)
    }

    /// Makes an object of another, inside the store. False where the store does not.
    pub async fn copy(&self, from: &str, to: &str) -> bool {
        let (from, to) = (self.path(from), self.path(to));
        self.store.copy(&from, &to).await.is_ok() && self.sync(&to).is_ok()
    }

    /// Takes an object away. That it was away already is no error.
    pub async fn remove(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("removed", name, &error)),
        }
    }

    /// What a store has answered is safe there; what a disk has, is when it was synced.
    fn sync(&self, path: &Path) -> Result<()> {
        if self.folder.is_none() {
            return Ok(());
        }
        let file = PathBuf::from(format!("/{path}"));
        let above = file.parent().unwrap_or(&file);
        File::open(&file)
            .and_then(|file| file.sync_all())
            .and_then(|()| File::open(above)?.sync_all())
            .map_err(|error| {
                Error::unavailable(format!("it cannot be synced: {error}"))
                    .at(format!("file:///{path}"))
                    .remedy("check the disk's space and health")
            })
    }

    fn failed(&self, what: &str, name: &str, error: &object_store::Error) -> Error {
        failure::failed(what, &self.url(name), self.folder.is_some(), error)
    }
}

fn not_a_url(url: &str) -> Error {
    Error::config(format!("checkpoints cannot go to '{url}'"))
        .remedy("give s3://BUCKET/FOLDER, for any store that speaks like S3 (AWS_ENDPOINT_URL says where it is), or file:///FOLDER")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Place::open(url, 0).unwrap_err().to_string()
    }

    #[test]
    fn urls_that_are_none_are_refused_with_what_to_write() {
        for url in [
            "gs://bucket",
            "s3://",
            "s3:///folder",
            "bucket/folder",
            "s3://b//c",
            "s3://b/c?x=1",
            "file://there/x",
            "s3://b/../c",
        ] {
            let error = refused(url);
            assert!(
                error.contains("s3://BUCKET/FOLDER") && error.contains("file:///FOLDER"),
                "{url}: {error}"
            );
        }
        let error = refused("s3://AKIA:hunter2@bucket/folder");
        assert!(error.contains("AWS_ACCESS_KEY_ID") && !error.contains("hunter2"), "{error}");
        let place = Place::open("s3://bucket/fleet/gateway-7/", 0).unwrap();
        assert_eq!(place.url("manifest"), "s3://bucket/fleet/gateway-7/manifest");
        assert_eq!(place.path("a/b").as_ref(), "fleet/gateway-7/a/b");
        assert_eq!(Place::open("s3://bucket", 0).unwrap().path("a/b%2Fc").as_ref(), "a/b%2Fc");
    }

    #[tokio::test]
    async fn a_disk_that_is_not_mounted_is_not_written_under() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::open(&format!("file://{}/disk/gateway-7", folder.path().display()), 0).unwrap();
        let read = |_, _| Ok(Bytes::from_static(b"x"));
        let error = place.write("a/b", 1, read).await.unwrap_err().to_string();
        assert!(error.contains("mount the disk"), "{error}");
        assert!(place.folders().await.is_err());
        std::fs::create_dir(folder.path().join("disk")).unwrap();
        assert!(place.folders().await.unwrap().is_empty());
        place.write("a/b", 1, read).await.unwrap();
        assert!(place.copy("a/b", "c/b").await);
        assert_eq!(place.folders().await.unwrap(), ["a", "c"]);
        assert_eq!(place.objects("c").await.unwrap(), [Object { name: "b".into(), bytes: 1 }]);
        place.remove("a/b").await.unwrap();
        place.remove("a/b").await.unwrap();
        assert_eq!(place.read("a/b", 10).await.unwrap(), None);
        assert!(place.read("c/b", 0).await.is_err());
    }
}
