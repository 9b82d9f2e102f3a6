//! nginx's WebDAV.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Service, Site, answers, debian_program, write, write_secret};

const USER: &str = "gateway";
const PASSWORD: &str = "correct horse";
const MODULE: &str = "usr/lib/nginx/modules/ngx_http_dav_ext_module.so";

pub(super) struct WebDav;

impl Service for WebDav {
    fn name(&self) -> &'static str {
        "webdav"
    }

    fn prepare(&self, site: &Site) {
        let home = site.home.display();
        let module = Some(site.installed.join("debian").join(MODULE)).filter(|module| module.exists());
        let module = module.unwrap_or_else(|| Path::new("/").join(MODULE));
        // Root's own process serves, instead of a child that may not write here.
        let configuration = format!(
            "load_module {module};
daemon off; master_process off; pid {home}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {home}/bodies; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    server {{
        listen {address};
        root {home}/root;
        auth_basic tests; auth_basic_user_file {home}/passwords;
        client_max_body_size 0; create_full_put_path on;
        dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS;
    }}
}}
",
            module = module.display(),
            address = site.address,
        );
        write(&site.home.join("nginx.conf"), &configuration);
        write(&site.home.join("passwords"), &format!("{USER}:{{PLAIN}}{PASSWORD}\n"));
        write_secret(&site.home.join("password"), &format!("{PASSWORD}\n"));
        write_secret(&site.home.join("wrong-password"), "battery staple\n");
        std::fs::create_dir(site.home.join("root")).expect("a temporary directory can be written to");
    }

    fn commands(&self, site: &Site) -> Vec<Command> {
        let mut command = debian_program(site, "usr/sbin/nginx");
        command.args(["-e", "stderr", "-p"]).arg(&site.home).arg("-c").arg(site.home.join("nginx.conf"));
        vec![command]
    }

    fn is_up(&self, site: &Site, _log: &str) -> bool {
        answers(site.address)
    }

    fn uri(&self, _site: &Site, address: SocketAddr) -> String {
        format!("webdav://{USER}@{address}/tidegate")
    }

    fn environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        vec![("TIDEGATE_WEBDAV_PASSWORD_FILE", site.home.join("password").into())]
    }

    fn wrong_environment(&self, site: &Site) -> Vec<(&'static str, OsString)> {
        vec![("TIDEGATE_WEBDAV_PASSWORD_FILE", site.home.join("wrong-password").into())]
    }
}
