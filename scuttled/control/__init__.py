"""The daemon's end of the control protocol (docs/control.md): requests, answers, streams.

`server` reads requests and writes answers (trio); `operations` knows what each one does; all else
is pure: what is written (`data_operations`, `bulk_load`), read (`scan`, `tally`, `watch`) and
waited for (`write_concern`, `conditions`), and how fast callers may write (`backpressure`).
"""
