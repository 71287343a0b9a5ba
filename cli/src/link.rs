//! The way to a node: the daemon of this home, or one inside this command.

use crate::failure::Failure;
use crate::inside::Inside;
use crate::setting::Setting;
use eddy_node::control::Client;
use eddy_wire::catalogue::ErrorCode;
use std::future::Future;

/// What a node is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve until it is stopped.
    Serve,
    /// To fetch.
    Transfer,
    /// To look at what is stored, and to change it; nobody outside is talked to.
    Look,
}

/// A client, and the node inside this command if there is one.
pub(crate) struct Link {
    /// The way to the node.
    pub(crate) client: Client,
    inside: Option<Inside>,
}

impl Link {
    /// A way to the node that runs; it is only found out with the first call whether one does.
    pub(crate) fn to_running(setting: &Setting) -> Result<Client, Failure> {
        Ok(Client::new(&setting.socket)?)
    }

    /// A way to the node that runs, or to one that is started inside this command.
    pub(crate) async fn to_any(setting: &Setting, purpose: Purpose) -> Result<Self, Failure> {
        let client = Self::to_running(setting)?;
        match client.status().await {
            Ok(_) => Ok(Self { client, inside: None }),
            Err(problem) if problem.error_code() == Some(ErrorCode::DaemonUnreachable) => {
                let inside = Inside::start(setting, purpose).await?;
                if purpose == Purpose::Transfer {
                    setting.note("no daemon runs here: this command is a node itself for as long as it lasts");
                }
                let client = Client::new(inside.socket())?;
                Ok(Self { client, inside: Some(inside) })
            }
            Err(problem) => Err(problem.into()),
        }
    }

    /// Asks whichever node there is one question, and lets go of it again.
    pub(crate) async fn ask<T, E: Into<Failure>, F: Future<Output = Result<T, E>>>(
        setting: &Setting,
        question: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure> {
        let link = Self::to_any(setting, Purpose::Look).await?;
        let answer = question(link.client.clone()).await;
        link.close().await;
        answer.map_err(Into::into)
    }

    /// Whether the node lives in this command.
    pub(crate) fn is_inside(&self) -> bool {
        self.inside.is_some()
    }

    /// Lets go of the node; one inside this command is stopped, and has written everything when this returns.
    pub(crate) async fn close(self) {
        if let Some(inside) = self.inside {
            inside.stop().await;
        }
    }
}
