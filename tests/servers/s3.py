"""An S3 server that survives its process: moto keeps objects in memory, so what it was asked is recorded and asked again.

s3.py HOST PORT RECORDING
"""

import base64
import json
import os
import sys
from urllib.parse import urlsplit

host, port, recording = sys.argv[1:]
os.environ["MOTO_RECORDER_FILEPATH"] = recording

from moto.moto_api import recorder  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from moto.server import main  # noqa: E402
from werkzeug.test import Client  # noqa: E402

if os.path.exists(recording):
    client = Client(DomainDispatcherApplication(create_backend_app))
    with open(recording) as requests:
        for line in requests:
            # A process that was killed leaves its last line unfinished.
            if not line.endswith("\n"):
                break
            request = json.loads(line)
            if request["method"] not in ("PUT", "POST", "DELETE"):
                continue
            url = urlsplit(request["url"])
            body = request["body"] or ""
            body = base64.b64decode(body) if request["body_encoded"] else body.encode()
            headers = {name: value for name, value in request["headers"].items() if name.lower() != "transfer-encoding"}
            target = url.path + ("?" + url.query if url.query else "")
            client.open(target, method=request["method"], base_url=f"http://{host}:{port}", headers=headers, data=body)

recorder.start_recording()
main(["-H", host, "-p", port])
