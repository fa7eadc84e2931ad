//! A JWK Set behind a URL, fetched by the HTTP client of this crate.

use std::sync::Arc;
use std::time::Duration;

use super::algorithm::AlgorithmSet;
use super::jwks_url::{Document, Fetch, JwksUrl, JwksUrlConfig};
use crate::clock::Clock;
use crate::http::{HttpClient, HttpHeaders, HttpOptions, HttpSetupError, HttpUrl};

/// Fetches with a client that has the deadline and the limit of its only user.
struct HttpFetch {
    client: HttpClient,
    url: HttpUrl,
}

impl JwksUrl {
    /// Keys of a JWK Set, for these algorithms, that is fetched by HTTP. The deadline and the limit
    /// of bytes are those of `config`, the rest is as in `options`. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// The URL, or a file that `options` names, cannot be used.
    pub fn over_http(
        config: JwksUrlConfig,
        algorithms: AlgorithmSet,
        options: HttpOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HttpSetupError> {
        let options = HttpOptions {
            deadline: config.deadline,
            response_bytes_max: config.bytes_max,
            ..options
        };
        let fetch =
            HttpFetch { client: HttpClient::new(options)?, url: HttpUrl::parse(&config.url)? };
        Ok(Self::new(config, algorithms, Arc::new(fetch), clock))
    }
}

impl Fetch for HttpFetch {
    fn get(&self, _: &str, _: Duration, _: usize) -> Result<Document, String> {
        let answer = self.client.get(&self.url, &HttpHeaders::default());
        let answer = answer.map_err(|error| error.to_string())?;
        match answer.status {
            200 => Ok(Document { body: answer.body, max_age: answer.usable_for }),
            status => Err(format!("{} answers with the status {status}", self.url)),
        }
    }
}
