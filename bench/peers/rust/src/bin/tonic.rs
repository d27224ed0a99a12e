//! tonic's ends of the measurements, as tonic comes, on tokio's current-thread runtime: each end has one core.
//!
//!     tonic server                                                         prints its port, serves until stdin ends
//!     tonic client --port PORT --load unary --concurrency 16 --payload 100

use std::error::Error;
use std::time::{Duration, Instant};

use proxyless_bench_peers::{Asked, STREAM_MESSAGES, answer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::{Iter, iter};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

mod hello {
    tonic::include_proto!("hello");
}
use hello::greeter_client::GreeterClient;
use hello::greeter_server::{Greeter, GreeterServer};
use hello::{HelloReply, HelloRequest};

type Failure = Box<dyn Error + Send + Sync>;

struct Echo;

type Replies = Iter<std::iter::RepeatN<Result<HelloReply, Status>>>;

#[tonic::async_trait]
impl Greeter for Echo {
    type ListHellosStream = Replies;
    type ChatStream = Replies;

    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(HelloReply { payload: request.into_inner().payload, ..Default::default() }))
    }

    async fn list_hellos(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let asked = request.into_inner();
        let count = usize::try_from(asked.count).unwrap_or(0);
        let reply = HelloReply { payload: asked.payload, ..Default::default() };
        Ok(Response::new(iter(std::iter::repeat_n(Ok(reply), count))))
    }

    async fn collect_hellos(&self, _: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn chat(&self, _: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        Err(Status::unimplemented("not measured"))
    }
}

async fn serve() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let ended = async {
        let _ = stdin().read_to_end(&mut Vec::new()).await;
    };
    // What `serve` does with an address; a listener's port can be told.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder().add_service(GreeterServer::new(Echo)).serve_with_incoming(incoming);
    tokio::select! { served = serving => Ok(served?), () = ended => Ok(()) }
}

/// Calls one after the other until `end`, and how long each took in seconds.
async fn call(mut stub: GreeterClient<Channel>, request: HelloRequest, end: Instant) -> Result<Vec<f64>, Failure> {
    let mut times = Vec::new();
    let mut before = Instant::now();
    while before < end {
        stub.say_hello(request.clone()).await?;
        let after = Instant::now();
        times.push((after - before).as_secs_f64());
        before = after;
    }
    Ok(times)
}

async fn list(mut stub: GreeterClient<Channel>, request: HelloRequest, end: Instant) -> Result<usize, Failure> {
    let mut messages = 0;
    while Instant::now() < end {
        let mut replies = stub.list_hellos(request.clone()).await?.into_inner();
        while replies.message().await?.is_some() {
            messages += 1;
        }
    }
    Ok(messages)
}

async fn client(asked: Asked) -> Result<(), Failure> {
    let stub = GreeterClient::connect(format!("http://127.0.0.1:{}", asked.number("--port"))).await?;
    let (payload, concurrency) = (vec![0; asked.number("--payload")], asked.number("--concurrency"));
    let request = HelloRequest { payload, count: i32::try_from(STREAM_MESSAGES)?, ..Default::default() };
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(line.trim().parse()?);
        if asked.word("--load") == "stream" {
            let messages = list(stub.clone(), request.clone(), end).await?;
            answer(messages, start, &mut []);
            continue;
        }
        let mut callers = JoinSet::new();
        for _ in 0..concurrency {
            callers.spawn(call(stub.clone(), request.clone(), end));
        }
        let mut times = Vec::new();
        while let Some(done) = callers.join_next().await {
            times.extend(done??);
        }
        answer(times.len(), start, &mut times);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let asked = Asked::from_command_line();
    if asked.role == "server" { serve().await } else { client(asked).await }
}
