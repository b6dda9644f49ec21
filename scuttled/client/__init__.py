"""A program's end of the control protocol: `with Client.connect(paths) as client: ...`"""

from scuttled.client.client import Client as Client
