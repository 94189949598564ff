//! From a URL to a client of its store and the name of the object there.

use std::{collections::HashMap, env, sync::Arc};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder, http::HttpBuilder, path::Path,
};
use url::Url;

use crate::{Patience, StoreError};

/// A connection to a bucket, or to a web server.
pub(crate) struct Client {
    /// What is read: by requests that are made again here, from the byte on that they came to.
    pub reads: Arc<dyn ObjectStore>,
    /// What is listed and stored: requests are made again as a whole.
    pub writes: Arc<dyn ObjectStore>,
    pub patience: Patience,
}

/// An object.
#[derive(Clone)]
pub(crate) struct Address {
    pub client: Arc<Client>,
    /// Its name in the bucket.
    pub key: Path,
    /// The URL of the bucket, with a slash at its end; `None` on the web.
    pub bucket: Option<String>,
}

/// How a store is built with these options.
type Build<'a> = dyn Fn(ClientOptions, RetryConfig) -> object_store::Result<Arc<dyn ObjectStore>> + 'a;

impl Address {
    pub fn of(url: &str, clients: &mut HashMap<String, Arc<Client>>) -> Result<Self, StoreError> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket_url = format!("{scheme}://{bucket}/");
        let mut client = |name: &str, build: &Build<'_>| match clients.get(name) {
            Some(client) => Ok(Arc::clone(client)),
            None => {
                let client = Arc::new(Client::new(build)?);
                clients.insert(name.into(), Arc::clone(&client));
                Ok::<_, StoreError>(client)
            }
        };
        let client = match scheme {
            "s3" => {
                require(
                    &S3_CREDENTIALS,
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public \
                     bucket",
                )?;
                client(&bucket_url, &|options, retry| {
                    let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                    Ok(Arc::new(builder.with_client_options(options).with_retry(retry).build()?))
                })?
            }
            "gs" => {
                require(
                    &GOOGLE_CREDENTIALS,
                    "GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for a public bucket",
                )?;
                client(&bucket_url, &|options, retry| {
                    let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                    Ok(Arc::new(builder.with_client_options(options).with_retry(retry).build()?))
                })?
            }
            "az" => {
                require(
                    &AZURE_CREDENTIALS,
                    "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or \
                     AZURE_STORAGE_SAS_TOKEN, or AZURE_SKIP_SIGNATURE=true for a public container",
                )?;
                client(&bucket_url, &|options, retry| {
                    let builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
                    Ok(Arc::new(builder.with_client_options(options).with_retry(retry).build()?))
                })?
            }
            _ => return Self::on_the_web(url, &bucket_url, client),
        };
        let key = Path::parse(key).map_err(|_| {
            StoreError::Url("the name of an object has neither empty parts (//) nor . or .. for a part".into())
        })?;
        Ok(Self { client, key, bucket: Some(bucket_url) })
    }

    /// What a client makes of path and query again must be the URL as it was given; where it would not be, the URL has a
    /// client to itself.
    fn on_the_web(
        url: &str,
        server: &str,
        mut client: impl FnMut(&str, &Build<'_>) -> Result<Arc<Client>, StoreError>,
    ) -> Result<Self, StoreError> {
        let whole = Url::parse(url).map_err(|error| StoreError::Url(error.to_string()))?;
        let key = Path::from_url_path(whole.path()).ok().filter(|key| {
            let mut made = Url::parse(server).expect("the beginning of a URL is one");
            made.path_segments_mut().expect("it has a host").pop_if_empty().extend(key.parts());
            made == whole
        });
        let base = if key.is_some() { server } else { url };
        let client = client(base, &|options, retry| {
            Ok(Arc::new(HttpBuilder::new().with_url(base).with_client_options(options).with_retry(retry).build()?))
        })?;
        Ok(Self { client, key: key.unwrap_or_default(), bucket: None })
    }
}

impl Client {
    fn new(build: &Build<'_>) -> Result<Self, StoreError> {
        let patience = Patience::from_env()?;
        // An endpoint that says `http://` was asked for.
        let options = || ClientOptions::new().with_allow_http(true).with_connect_timeout(patience.timeout);
        let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let backoff = BackoffConfig { max_backoff: Patience::pause(usize::MAX), ..BackoffConfig::default() };
        let again = RetryConfig { max_retries: patience.retries, backoff, ..RetryConfig::default() };
        let failed = |error: object_store::Error| StoreError::of(&error);
        Ok(Self {
            reads: build(options().with_timeout_disabled(), once).map_err(failed)?,
            // For a whole part of a file.
            writes: build(options().with_timeout(4 * patience.timeout), again).map_err(failed)?,
            patience,
        })
    }
}

/// Variables one of which must be set: a client that finds none would look for a machine of the provider's that gives
/// credentials, on a network that may not have one.
const S3_CREDENTIALS: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
];
const GOOGLE_CREDENTIALS: [&str; 5] = [
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SKIP_SIGNATURE",
];
const AZURE_CREDENTIALS: [&str; 11] = [
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AZURE_STORAGE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_SKIP_SIGNATURE",
    "AZURE_STORAGE_USE_EMULATOR",
];

fn require(names: &[&str], remedy: &'static str) -> Result<(), StoreError> {
    let is_set = names.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    if is_set { Ok(()) } else { Err(StoreError::NoCredentials(remedy)) }
}
