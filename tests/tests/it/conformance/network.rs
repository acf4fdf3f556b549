//! The way out of a sandbox: what arrives at the daemon, and what goes nowhere.

use std::net::{Ipv4Addr, SocketAddrV4};

use ftl_core::egress::dns::{self, NameVerdict};
use ftl_guest::protocol::{PROXY_PORT, TRANSPARENT_PORT};
use ftld::pipe::{Incoming, Names, Pipe};

use super::*;

/// Where a name of the tests points to.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 3, 4);

async fn online(bench: &Bench) -> (Box<dyn Sandbox>, Pipe) {
    let spec = SandboxSpec { network: Network::Egress, ..bench.spec() };
    let sandbox = bench.backend.launch(spec).await.unwrap();
    let pipe = sandbox.take_pipe().unwrap();
    assert!(sandbox.take_pipe().is_none());
    (sandbox, pipe)
}

/// Answers every connection with what it sent, up to the end of a line, and gives where they wanted to go.
async fn echo(door: &mut dyn Incoming, count: usize) -> Vec<Option<SocketAddrV4>> {
    let mut origins = Vec::new();
    for _ in 0..count {
        let mut arrived = door.accept().await.unwrap();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            line.push(arrived.stream.read_u8().await.unwrap());
        }
        arrived.stream.write_all(&line).await.unwrap();
        arrived.stream.shutdown().await.unwrap();
        origins.push(arrived.origin);
    }
    origins
}

/// Answers questions as the proxy would, one name being allowed.
async fn answer(mut names: Box<dyn Names>) {
    while let Ok(question) = names.next().await {
        let answered = dns::answer(&question.message, &mut |name| match name.as_str() {
            "good.example" => NameVerdict::Address(ADDRESS),
            _ => NameVerdict::Refused("no rule".to_owned()),
        });
        if let Some(answered) = answered {
            (question.answer)(answered);
        }
    }
}

/// Says a line to an address and prints what comes back.
fn speak(address: &str, port: u16) -> Command {
    let text = format!("exec 3<>/dev/tcp/{address}/{port}; echo hello >&3; cat <&3");
    command(&["/bin/bash", "-c", &text])
}

async fn spoken(sandbox: &dyn Sandbox, address: &str, port: u16) -> String {
    let output = finish(sandbox.spawn(speak(address, port)).await.unwrap()).await.unwrap();
    format!("{}{}", output.stdout, output.stderr)
}

pub(super) async fn connections_arrive_with_where_they_wanted_to_go(bench: &Bench) {
    let (sandbox, mut pipe) = online(bench).await;
    let (said, origins) = tokio::join!(spoken(&*sandbox, "127.0.0.1", PROXY_PORT), echo(&mut *pipe.proxy, 1));
    assert_eq!((said.as_str(), origins), ("hello\n", vec![None]));

    let mut transparent = pipe.transparent.unwrap();
    for (address, port) in
        [("198.18.3.4", 8443), ("8.8.8.8", 53), ("169.254.169.254", 80), ("198.18.0.1", 22)]
    {
        let (said, origins) = tokio::join!(spoken(&*sandbox, address, port), echo(&mut *transparent, 1));
        let origin = SocketAddrV4::new(address.parse().unwrap(), port);
        assert_eq!((said.as_str(), origins), ("hello\n", vec![Some(origin)]));
    }
    // Straight to that door, and so to nowhere: what arrives is the next one.
    let straight = spoken(&*sandbox, "127.0.0.1", TRANSPARENT_PORT);
    let next = async {
        let straight = straight.await;
        (straight, spoken(&*sandbox, "1.2.3.4", 5).await)
    };
    let ((straight, said), origins) = tokio::join!(next, echo(&mut *transparent, 1));
    assert!(!straight.contains("hello"), "{straight}");
    assert_eq!((said.as_str(), origins), ("hello\n", vec![Some("1.2.3.4:5".parse().unwrap())]));
    sandbox.kill().await;
}

pub(super) async fn what_knows_of_the_proxy_reaches_it_and_the_rest_nothing(bench: &Bench) {
    let (sandbox, mut pipe) = online(bench).await;
    assert!(pipe.transparent.is_none());
    let told = sandbox.enforcement().unenforced.join("\n");
    assert!(told.contains("ignore the proxy settings") && told.contains("names: nobody"), "{told}");
    for _ in 0..3 {
        let said = spoken(&*sandbox, "127.0.0.1", PROXY_PORT);
        let (said, origins) = tokio::join!(said, echo(&mut *pipe.proxy, 1));
        assert_eq!((said.as_str(), origins), ("hello\n", vec![None]));
    }
    // As a client does it: the answer is the proxy's.
    let asked = says(&*sandbox, "curl --silent --proxy http://127.0.0.1:3128 http://good.example/x");
    let answered = async {
        let mut arrived = pipe.proxy.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(arrived.stream.read_u8().await.unwrap());
        }
        arrived.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nthere").await.unwrap();
        arrived.stream.shutdown().await.unwrap();
        String::from_utf8(head).unwrap()
    };
    let (said, head) = tokio::join!(asked, answered);
    assert!(said == "there" && head.starts_with("GET http://good.example/x HTTP/1.1"), "{said} {head}");
    for (address, port) in [("198.18.3.4", 443), ("169.254.169.254", 80), ("127.0.0.1", TRANSPARENT_PORT)] {
        let straight = spoken(&*sandbox, address, port).await;
        assert!(!straight.contains("hello"), "{straight}");
    }
    assert_ne!(run(&*sandbox, "getent hosts good.example").await.status, ExitStatus::Code(0));
    sandbox.kill().await;
    assert!(pipe.proxy.accept().await.is_err());
}

pub(super) async fn a_connection_that_is_refused_is_no_empty_answer(bench: &Bench) {
    let (sandbox, pipe) = online(bench).await;
    let mut transparent = pipe.transparent.unwrap();
    let refuse = async {
        let mut arrived = transparent.accept().await.unwrap();
        // The rest of the line is there as well, and is never read.
        arrived.stream.read_u8().await.unwrap()
    };
    let (said, first) = tokio::join!(spoken(&*sandbox, "198.18.3.4", 53), refuse);
    assert_eq!(first, b'h');
    assert!(said.contains("Connection reset by peer"), "{said:?}");
    sandbox.kill().await;
}

pub(super) async fn names_are_answered_over_datagrams_and_connections(bench: &Bench) {
    let (sandbox, pipe) = online(bench).await;
    let answering = tokio::spawn(answer(pipe.names));
    assert_eq!(says(&*sandbox, "getent ahosts good.example | cut -d' ' -f1 | uniq").await, "198.18.3.4\n");
    assert_eq!(
        says(&*sandbox, "getent hosts localhost").await,
        "::1             localhost ip6-localhost ip6-loopback\n"
    );
    assert_eq!(run(&*sandbox, "getent hosts bad.example").await.status, ExitStatus::Code(2));
    let question = r"\1\2\1\0\0\1\0\0\0\0\0\0\4good\7example\0\0\1\0\1";
    let ask = |protocol: &str, length: &str, server: &str, skip: usize| {
        let text = format!(
            "exec 3<>/dev/{protocol}/{server}/53; printf '{length}{question}' >&3; \
             dd bs=512 count=1 status=none <&3 | tail -c +{skip} | tail -c 4 | od -An -tu1"
        );
        command(&["/bin/bash", "-c", &text])
    };
    for asked in
        [ask("udp", "", "127.0.0.1", 1), ask("udp", "", "8.8.8.8", 1), ask("tcp", r"\0\36", "127.0.0.1", 3)]
    {
        let output = finish(sandbox.spawn(asked.clone()).await.unwrap()).await.unwrap();
        assert_eq!(output.stdout, " 198  18   3   4\n", "{asked:?} {output:?}");
    }
    sandbox.kill().await;
    answering.await.unwrap();
}

pub(super) async fn everything_else_fails_at_once(bench: &Bench) {
    let (sandbox, _pipe) = online(bench).await;
    for (text, error) in [
        ("echo x > /dev/udp/8.8.8.8/443", "Operation not permitted"),
        ("echo x > /dev/udp/198.18.3.4/443", "Operation not permitted"),
        ("echo x > /dev/udp/255.255.255.255/67", "ermi"),
        ("echo x > /dev/tcp/2001:db8::1/80", "Network is unreachable"),
        ("echo x > /dev/tcp/fe80::1/80", ""),
        ("echo x > /dev/udp/2001:db8::1/53", "Network is unreachable"),
        ("echo x > /dev/udp/ff02::1/53", ""),
    ] {
        let output = finish(sandbox.spawn(command(&["/bin/bash", "-c", text])).await.unwrap()).await.unwrap();
        assert_ne!(output.status, ExitStatus::Code(0), "{text}");
        assert!(output.stderr.contains(error), "{text}: {output:?}");
    }
    sandbox.kill().await;
}

pub(super) async fn a_sandboxs_own_servers_are_reached_and_its_network_cannot_be_changed(bench: &Bench) {
    let (sandbox, _pipe) = online(bench).await;
    let server = "import socket,threading\n\
                  s=socket.create_server(('127.0.0.1',0))\n\
                  c=socket.create_connection(s.getsockname())\n\
                  a,_=s.accept(); a.sendall(b'own'); print(c.recv(9))\n\
                  u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); u.bind(('127.0.0.1',0))\n\
                  v=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); v.sendto(b'udp',u.getsockname()); print(u.recv(9))\n\
                  s6=socket.create_server(('::1',0),family=socket.AF_INET6)\n\
                  c6=socket.create_connection(s6.getsockname()[:2]); print('six')\n\
                  def tried(what,*args):\n\
                  \x20try: what(*args); print('through',args)\n\
                  \x20except OSError as e: print(e.strerror)\n\
                  tried(socket.socket,16,3,12)\n\
                  tried(socket.socket,2,2,1)\n\
                  tried(socket.socket,2,3,1)\n\
                  r=socket.socket(16,3,0)\n\
                  import struct\n\
                  def ask(kind,body):\n\
                  \x20r.send(struct.pack('=IHHII',16+len(body),kind,5,1,0)+body)\n\
                  \x20code=struct.unpack('=i',r.recv(4096)[16:20])[0]; print(code)\n\
                  ask(16,struct.pack('=BBHiII',0,0,0,1,0,1))\n\
                  ask(20,struct.pack('=BBBBI',2,32,0,0,1)+struct.pack('=HH4B',8,2,1,2,3,4))\n\
                  ask(25,struct.pack('=BBBBBBBBI',2,0,0,0,254,4,253,1,0)+struct.pack('=HHI',8,4,1))\n\
                  b=socket.socket(); b.setsockopt(1,15,1)\n\
                  tried(b.bind,('127.0.0.1',3128))\n\
                  b=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); b.setsockopt(1,2,1); b.setsockopt(1,15,1)\n\
                  tried(b.bind,('127.0.0.1',53))\n\
                  tried(b.setsockopt,1,36,1)\n";
    let output =
        finish(sandbox.spawn(command(&["/usr/bin/python3", "-c", server])).await.unwrap()).await.unwrap();
    assert_eq!(
        output.stdout,
        "b'own'\nb'udp'\nsix\nOperation not permitted\nPermission denied\nOperation not permitted\n-1\n-1\n-1\nAddress already in use\n\
         Permission denied\nOperation not permitted\n",
        "{output:?}"
    );
    let processes = "for d in /proc/[0-9]*; do read name < $d/comm; echo $name; done";
    assert_eq!(says(&*sandbox, processes).await, "ftl-guest\nsh\n");
    sandbox.kill().await;
}

pub(super) async fn a_pipe_ends_with_its_sandbox_and_there_is_none_without_a_network(bench: &Bench) {
    let (sandbox, mut pipe) = online(bench).await;
    let mut transparent = pipe.transparent.unwrap();
    let ends = async {
        tokio::join!(
            async { pipe.proxy.accept().await.is_err() },
            async { transparent.accept().await.is_err() },
            async { pipe.names.next().await.is_err() },
        )
    };
    let (ended, _) = tokio::join!(ends, sandbox.kill());
    assert_eq!(ended, (true, true, true));
    let sandbox = bench.launch().await;
    assert!(sandbox.take_pipe().is_none());
    let text = "exec 3<>/dev/tcp/198.18.3.4/80";
    let output = finish(sandbox.spawn(command(&["/bin/bash", "-c", text])).await.unwrap()).await.unwrap();
    assert!(output.stderr.contains("unreachable"), "{output:?}");
    sandbox.kill().await;
}

pub(super) async fn two_sandboxes_have_two_networks(bench: &Bench) {
    let ((one, mut here), (two, mut there)) = (online(bench).await, online(bench).await);
    let (said, arrived, said_too, arrived_too) = tokio::join!(
        spoken(&*one, "127.0.0.1", PROXY_PORT),
        echo(&mut *here.proxy, 1),
        spoken(&*two, "127.0.0.1", PROXY_PORT),
        echo(&mut *there.proxy, 1),
    );
    assert_eq!((said.as_str(), said_too.as_str()), ("hello\n", "hello\n"));
    assert_eq!((arrived.len(), arrived_too.len()), (1, 1));
    one.kill().await;
    two.kill().await;
}

pub(super) async fn much_goes_through_and_what_is_stuck_holds_up_nothing_else(bench: &Bench) {
    let (sandbox, mut pipe) = online(bench).await;
    let program = "import hashlib,os,socket,threading\n\
                   stuck=socket.create_connection(('198.18.9.9',1)); stuck.setblocking(False)\n\
                   try:\n\
                   \x20while True: stuck.send(b'x'*65536)\n\
                   except BlockingIOError: pass\n\
                   def talk(n):\n\
                   \x20s=socket.create_connection(('198.18.3.4',1000+n)); sent=os.urandom(4000000+n)\n\
                   \x20def write():\n\
                   \x20\x20s.sendall(sent); s.shutdown(socket.SHUT_WR)\n\
                   \x20t=threading.Thread(target=write); t.start()\n\
                   \x20got=b''.join(iter(lambda: s.recv(65536),b'')); t.join()\n\
                   \x20print(got==sent,flush=True)\n\
                   all=[threading.Thread(target=talk,args=(n,)) for n in range(4)]\n\
                   [t.start() for t in all]; [t.join() for t in all]\n";
    let mut transparent = pipe.transparent.take().unwrap();
    let echoing = tokio::spawn(async move {
        let _stuck = transparent.accept().await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let arrived = transparent.accept().await.unwrap();
            tasks.spawn(async move {
                let (mut from, mut to) = tokio::io::split(arrived.stream);
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    let talked = sandbox.spawn(command(&["/usr/bin/python3", "-c", program])).await.unwrap();
    let output = finish(talked).await.unwrap();
    assert_eq!(output.stdout, "True\n".repeat(4), "{output:?}");
    echoing.await.unwrap();
    sandbox.kill().await;
}
