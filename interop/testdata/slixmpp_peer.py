# SPDX-License-Identifier: Apache-2.0
"""A slixmpp client that a test drives (see lines.py)."""

import asyncio
import base64
import io

from lines import out, serve

import slixmpp

_wait = asyncio.wait


def _wait_for_tasks(futures, **options):
    """Python 3.11 takes no coroutines where slixmpp 1.8 passes them."""
    return _wait([asyncio.ensure_future(f) for f in futures], **options)


asyncio.wait = _wait_for_tasks


def describe(message):
    stanza_id = message.xml.find("{urn:xmpp:sid:0}stanza-id")
    delay = message.xml.find("{urn:xmpp:delay}delay")
    return {
        "from": str(message["from"]),
        "to": str(message["to"]),
        "type": message["type"],
        "id": message["id"],
        "body": message["body"],
        "stanza_id": stanza_id.get("id") if stanza_id is not None else "",
        "stamp": delay.get("stamp") if delay is not None else "",
    }


class Peer(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca):
        super().__init__(jid, password)
        self.ca_certs = ca
        self.use_aiodns = False
        self.use_ipv6 = False
        for name in ("xep_0030", "xep_0066", "xep_0184", "xep_0198", "xep_0199", "xep_0280", "xep_0297", "xep_0313", "xep_0333", "xep_0359", "xep_0084", "xep_0115", "xep_0163", "xep_0172", "xep_0085", "xep_0308", "xep_0363"):
            self.register_plugin(name)
        self["xep_0198"].window = 1
        self.auto_authorize = True
        self.auto_subscribe = True
        self.add_event_handler("session_start", lambda _: out(event="session_start", jid=str(self.boundjid)))
        self.add_event_handler("session_resumed", lambda _: out(event="session_resumed", jid=str(self.boundjid)))
        self.add_event_handler("sm_enabled", lambda s: out(event="sm_enabled", id=s["id"]))
        self.add_event_handler("sm_failed", lambda s: out(event="sm_failed"))
        self.add_event_handler("disconnected", lambda reason: out(event="disconnected", reason=str(reason)))
        self.add_event_handler("failed_auth", lambda _: out(event="failed_auth"))
        self.add_event_handler("ssl_invalid_chain", lambda e: out(event="untrusted", reason=str(e)))
        self.add_event_handler("connection_failed", lambda e: out(event="connection_failed", reason=str(e)))
        self.add_event_handler("stream_error", lambda e: out(event="stream_error", condition=e["condition"]))
        self.add_event_handler("message", lambda m: out(event="message", **describe(m)))
        self.add_event_handler("message_error", lambda m: out(event="message_error", condition=m["error"]["condition"], **describe(m)))
        self.add_event_handler("carbon_received", lambda m: out(event="carbon_received", **describe(m["carbon_received"])))
        self.add_event_handler("carbon_sent", lambda m: out(event="carbon_sent", **describe(m["carbon_sent"])))
        self.add_event_handler("receipt_received", lambda m: out(event="receipt", id=m["receipt"], **{"from": str(m["from"])}))
        self.add_event_handler("marker_displayed", lambda m: out(event="displayed", id=m["displayed"]["id"], **{"from": str(m["from"])}))
        self.add_event_handler("stanza_acked", self.acked)
        self.add_event_handler("presence", lambda p: out(event="presence", type=p["type"], **{"from": str(p["from"])}))
        self.add_event_handler("presence_subscribe", lambda p: out(event="subscribe", **{"from": str(p["from"])}))

        for state in ("active", "composing", "paused", "inactive", "gone"):
            self.add_event_handler("chatstate_" + state, lambda m: out(event="chatstate", state=m["chat_state"], **{"from": str(m["from"])}))
        self.add_event_handler("message_correction", lambda m: out(event="correction", replaces=m["replace"]["id"], **describe(m)))
        self.add_event_handler("user_nick_publish", lambda m: out(event="nick", **self.published(m, "nick", "nick")))
        self.add_event_handler("avatar_metadata_publish", lambda m: out(event="avatar", **self.published(m, "avatar_metadata", None)))

    def published(self, message, plugin, field):
        item = message["pubsub_event"]["items"]["item"]
        return {"from": str(message["from"]), "id": item["id"], "value": str(item[plugin][field]) if field else ""}

    def acked(self, stanza):
        if isinstance(stanza, slixmpp.Message):
            out(event="acked", id=stanza["id"])


class Commands:
    peer = None

    async def connect(self, jid, password, host, port, ca):
        self.address = (host, port)
        self.peer = Peer(jid, password, ca)
        self.peer.default_port = port  # for what is found by looking up the host
        self.peer.connect((host, port))

    async def available(self):
        self.peer.send_presence()

    async def send(self, to, body, receipt=False, markable=False, oob=None):
        message = self.peer.make_message(mto=to, mbody=body, mtype="chat")
        message["id"] = self.peer.new_id()
        message["origin_id"]["id"] = message["id"]
        if receipt:
            message["request_receipt"] = True
        if markable:
            message.enable("markable")
        if oob:
            message["oob"]["url"] = oob
        message.send()
        return message["id"]

    async def displayed(self, to, id):
        self.peer["xep_0333"].send_marker(mto=slixmpp.JID(to), id=id, marker="displayed")

    async def state(self, to, state):
        message = self.peer.make_message(mto=to, mtype="chat")
        message["chat_state"] = state
        message.send()

    async def correct(self, to, id, body):
        message = self.peer.make_message(mto=to, mbody=body, mtype="chat")
        message["replace"]["id"] = id
        message.send()

    async def roster(self):
        await self.peer.get_roster(timeout=20)  # nothing new comes as an empty answer: slixmpp tells its version
        roster = self.peer.client_roster
        return {jid: {"subscription": roster[jid]["subscription"], "ask": "subscribe" if roster[jid]["pending_out"] else "", "name": roster[jid]["name"]} for jid in roster.keys()}

    async def subscribe(self, to):
        self.peer.send_presence(pto=to, ptype="subscribe")

    async def carbons(self):
        await self.peer["xep_0280"].enable(timeout=20)

    async def mam(self, peer, page=2, reverse=False):
        found = []
        query = self.peer["xep_0313"].iterate(with_jid=slixmpp.JID(peer), reverse=reverse, rsm={"max": page})
        async for result in query:
            message = describe(result["mam_result"]["forwarded"]["stanza"])
            message["archive_id"] = result["mam_result"]["id"]
            found.append(message)
        return found

    async def disco(self, jid):
        info = await self.peer["xep_0030"].get_info(jid=jid, timeout=20)
        return {"features": sorted(info["disco_info"]["features"]), "identities": [list(i)[:2] for i in info["disco_info"]["identities"]]}

    async def ping(self, jid):
        return await self.peer["xep_0199"].ping(jid=jid, timeout=20)

    async def nick(self, name):
        await self.peer["xep_0172"].publish_nick(name, timeout=20)

    async def avatar(self, data, encoding="utf-8"):
        picture = base64.b64decode(data) if encoding == "base64" else data.encode(encoding)
        await self.peer["xep_0084"].publish_avatar(picture, timeout=20)
        id = self.peer["xep_0084"].generate_id(picture)
        await self.peer["xep_0084"].publish_avatar_metadata({"id": id, "type": "image/png", "bytes": len(picture)}, timeout=20)
        return id

    async def retrieve_avatar(self, jid, id):
        result = await self.peer["xep_0084"].retrieve_avatar(slixmpp.JID(jid), id, timeout=20)
        return result["pubsub"]["items"]["item"]["avatar_data"]["value"].decode()

    async def nodes(self):
        result = await self.peer["xep_0060"].get_nodes(jid=self.peer.boundjid.bare, timeout=20)
        return sorted(item[1] for item in result["disco_items"]["items"])

    async def configuration(self, node):
        result = await self.peer["xep_0060"].get_node_config(self.peer.boundjid.bare, node, timeout=20)
        return result["pubsub_owner"]["configure"]["form"]["values"]

    async def upload(self, name, type, content, encoding="utf-8"):
        data = base64.b64decode(content) if encoding == "base64" else content.encode(encoding)
        return await self.peer["xep_0363"].upload_file(name, content_type=type, input_file=io.BytesIO(data), timeout=20)

    async def cut(self):
        self.peer.abort()

    async def reconnect(self):
        self.peer.connect(self.address)

    async def disconnect(self):
        await self.peer.disconnect()


if __name__ == "__main__":
    asyncio.run(serve(Commands()))
