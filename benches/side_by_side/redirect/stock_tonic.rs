//! tonic's own server, as its documentation has it: the multi-threaded runtime, the generated
//! service, no layers.

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::net::TcpListener;
use tonic::{
    Response, Status,
    transport::{Server, server::TcpIncoming},
};
use weir::{
    proto::{
        self,
        load_balancer_server::{LoadBalancer, LoadBalancerServer},
    },
    redirect::{RedirectPolicy, Target},
};

struct Redirects {
    policy: RedirectPolicy,
    turns: AtomicU64,
}

#[tonic::async_trait]
impl LoadBalancer for Redirects {
    async fn redirect(
        &self,
        request: tonic::Request<proto::Request>,
    ) -> Result<Response<proto::Response>, Status> {
        let video = request.into_inner().video;
        let accepted = self
            .policy
            .accept(&video)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let turn = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        let redirect = match self.policy.target(turn) {
            Target::Cdn => self.policy.cdn_url(&accepted),
            Target::Origin => video,
        };
        Ok(Response::new(proto::Response { redirect }))
    }
}

pub fn serve() -> Result<(), Box<dyn Error>> {
    let redirects = Redirects {
        policy: crate::redirect::floor::policy()?,
        turns: AtomicU64::new(0),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        Server::builder()
            .add_service(LoadBalancerServer::new(redirects))
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    })
}
