//! TLS towards a server: whose word on its certificate counts, and that it is the one that was meant.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::socket::{Socket, Stream};
use super::tls::{TlsError, TlsStream};
use crate::backplane::url::{Place, Trust};

/// Sessions with servers that have been vouched for.
pub(super) struct Client(Arc<ClientConfig>);

impl Client {
    /// Trusts the authorities that this machine knows, or those in a file.
    ///
    /// # Errors
    /// Where the file cannot be read, or there is no authority at all.
    pub(super) fn new(trust: &Trust) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match trust {
            Trust::Machine => {
                // Some that cannot be read, as there are on many machines, are no authorities.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Trust::File(path) => {
                let in_file = |why: &dyn fmt::Display| TlsError(format!("{path}: {why}"));
                let certs = CertificateDer::pem_file_iter(path)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|error| in_file(&error))?;
                for cert in certs {
                    roots.add(cert).map_err(|error| in_file(&error))?;
                }
            }
        }
        if roots.is_empty() {
            return Err(TlsError("there are no certificates by which a server could be known".to_owned()));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// A session on a socket that is being connected to the server with this name.
    ///
    /// # Errors
    /// Where a certificate could not be for such a name.
    pub(super) fn wrap(&self, socket: Socket, place: &Place) -> io::Result<Stream> {
        let invalid = |why: String| io::Error::new(ErrorKind::InvalidInput, why);
        let host = match place {
            Place::Tcp(host, _) => host.clone(),
            Place::Unix(path) => return Err(invalid(format!("{path}: a Unix socket speaks no TLS"))),
        };
        let name = ServerName::try_from(host).map_err(|error| invalid(error.to_string()))?;
        let tls = ClientConnection::new(self.0.clone(), name).map_err(|error| invalid(error.to_string()))?;
        Ok(Stream::Tls(Box::new(TlsStream::new(socket, tls.into()))))
    }
}
