# SPDX-License-Identifier: Apache-2.0
"""An aioxmpp client that a test drives (see lines.py)."""

import asyncio
import base64
import datetime
import hashlib
import logging

from lines import out, serve

import OpenSSL.SSL
import aioxmpp
import aioxmpp.adhoc
import aioxmpp.adhoc.xso
import aioxmpp.avatar
import aioxmpp.blocking
import aioxmpp.bookmarks
import aioxmpp.carbons
import aioxmpp.chatstates
import aioxmpp.connector
import aioxmpp.ibr
import aioxmpp.mdr
import aioxmpp.misc
import aioxmpp.pep
import aioxmpp.ping
import aioxmpp.private_xml
import aioxmpp.pubsub
import aioxmpp.pubsub.xso
import aioxmpp.security_layer
import aioxmpp.tracking
import aioxmpp.vcard
import aioxmpp.version
import aioxmpp.xso
from aioxmpp import JID, xso
from aioxmpp.utils import etree

NICK = "http://jabber.org/protocol/nick"


@aioxmpp.pubsub.xso.as_payload_class
class Nick(xso.XSO):
    """XEP-0172, which aioxmpp does not know: it publishes what one declares."""

    TAG = (NICK, "nick")
    text = xso.Text(default=None)

    def __init__(self, text=None):
        super().__init__()
        self.text = text


# In a request of its own it shows an invite (XEP-0445).
aioxmpp.IQ.as_payload_class(aioxmpp.misc.Preauth)


class Nicks(aioxmpp.service.Service):
    """Contacts' names by PEP, with +notify."""

    __module__ = "interop.nicks"  # aioxmpp names loggers by the part after the dot

    ORDER_AFTER = [aioxmpp.pep.PEPClient]
    node = aioxmpp.pep.register_pep_node(NICK, notify=True)

    @aioxmpp.service.attrsignal(node, "on_item_publish")
    def published(self, jid, node, item, *, message=None):
        out(event="nick", id=item.id_, value=item.registered_payload.text, **{"from": str(jid)})


def bodies(message):
    return message.body.any() if message.body else ""


def describe(message):
    ids, delays = list(message.xep0359_stanza_ids), list(message.xep0203_delay)
    return {
        "from": str(message.from_),
        "to": str(message.to),
        "type": message.type_.value,
        "id": message.id_,
        "body": bodies(message),
        "stanza_id": ids[0].id_ if ids else "",
        "stamp": str(delays[0].stamp) if delays else "",
        "replaces": message.xep0308_replace.id_ if message.xep0308_replace else "",
        "state": message.xep0085_chatstate.name.lower() if message.xep0085_chatstate else "",
    }


class Commands:
    client = None

    def trust(self, ca):
        def context():
            made = aioxmpp.security_layer.default_ssl_context()
            made.load_verify_locations(ca)
            return made

        return context

    async def login(self, jid, password, port, ca, direct=False, roster=None):
        """Makes a client, connects it, and waits until it is available."""
        security = aioxmpp.make_security_layer(password, ssl_context_factory=self.trust(ca))
        self.client = client = aioxmpp.PresenceManagedClient(JID.fromstr(jid), security)
        connector = aioxmpp.connector.XMPPOverTLSConnector() if direct else aioxmpp.connector.STARTTLSConnector()
        client.override_peer = [("localhost", port, connector)]
        client.backoff_start = datetime.timedelta(milliseconds=50)
        self.summon()
        self.listen()
        if roster:
            self.roster.import_from_json(roster)
        client.presence = aioxmpp.PresenceState(True)
        # It tries again after whatever is no matter of trust or passwords.
        established = asyncio.get_running_loop().create_future()
        client.on_stream_established.connect(lambda: established.done() or established.set_result(None))
        client.on_failure.connect(lambda error: established.done() or established.set_exception(error))
        await asyncio.wait_for(established, 20)
        return {"jid": str(client.local_jid), "sm": client.stream.sm_enabled, "resumable": bool(client.stream.sm_enabled and client.stream.sm_resumable)}

    def summon(self):
        summon = self.client.summon
        self.roster = summon(aioxmpp.RosterClient)
        self.presence = summon(aioxmpp.PresenceClient)
        self.disco = summon(aioxmpp.DiscoClient)
        summon(aioxmpp.DiscoServer)
        summon(aioxmpp.EntityCapsService)
        self.carbons = summon(aioxmpp.CarbonsClient)
        self.blocking = summon(aioxmpp.BlockingClient)
        self.pep = summon(aioxmpp.PEPClient)
        self.pubsub = summon(aioxmpp.PubSubClient)
        self.avatars = summon(aioxmpp.AvatarService)
        self.vcards = summon(aioxmpp.vcard.VCardService)
        self.adhoc = summon(aioxmpp.AdHocClient)
        self.receipts = summon(aioxmpp.DeliveryReceiptsService)
        self.registration = summon(aioxmpp.ibr.RegistrationService)
        self.pinging = summon(aioxmpp.PingService)
        self.versions = summon(aioxmpp.VersionServer)
        self.versions.name, self.versions.version, self.versions.os = "aioxmpp", aioxmpp.__version__, "Linux"
        self.nicks = summon(Nicks)
        self.messages = summon(aioxmpp.dispatcher.SimpleMessageDispatcher)

    def listen(self):
        self.messages.register_callback(None, None, self.message)
        self.roster.on_subscribe.connect(lambda p: out(event="subscribe", **{"from": str(p.from_)}))
        self.roster.on_subscribed.connect(lambda p: out(event="subscribed", **{"from": str(p.from_)}))
        self.roster.on_unsubscribe.connect(lambda p: out(event="unsubscribe", **{"from": str(p.from_)}))
        self.roster.on_unsubscribed.connect(lambda p: out(event="unsubscribed", **{"from": str(p.from_)}))
        self.roster.on_entry_added.connect(lambda i: out(event="item", jid=str(i.jid), subscription=i.subscription))
        self.roster.on_entry_removed.connect(lambda i: out(event="item_removed", jid=str(i.jid)))
        self.roster.on_entry_name_changed.connect(lambda i: out(event="item_named", jid=str(i.jid), name=i.name))
        self.roster.on_entry_subscription_state_changed.connect(lambda i: out(event="subscription", jid=str(i.jid), subscription=i.subscription, ask=str(i.ask)))
        self.presence.on_available.connect(lambda jid, p: out(event="presence", type="available", show=p.show.value or "", status=p.status.any() if p.status else "", **{"from": str(jid)}))
        self.presence.on_changed.connect(lambda jid, p: out(event="presence", type="available", show=p.show.value or "", status=p.status.any() if p.status else "", **{"from": str(jid)}))
        self.presence.on_unavailable.connect(lambda jid, p: out(event="presence", type="unavailable", **{"from": str(jid)}))
        self.blocking.on_jids_blocked.connect(lambda jids: out(event="blocked", jids=sorted(map(str, jids))))
        self.blocking.on_jids_unblocked.connect(lambda jids: out(event="unblocked", jids=sorted(map(str, jids))))
        self.avatars.on_metadata_changed.connect(self.avatar_changed)
        self.client.on_stream_suspended.connect(lambda reason: out(event="suspended"))
        self.client.on_stream_resumed.connect(lambda: out(event="resumed"))
        self.client.on_stream_destroyed.connect(lambda reason=None: out(event="destroyed"))
        self.client.on_failure.connect(lambda error: out(event="failure", reason="%s: %s" % (type(error).__name__, error)))

    def avatar_changed(self, jid, metadata):
        out(event="avatar", ids=[d.normalized_id for d in metadata], **{"from": str(jid)})

    def message(self, message):
        if message.type_ == aioxmpp.MessageType.ERROR:
            out(event="message_error", condition=message.error.condition.value[1], **describe(message))
            return
        for name, carbon in (("carbon_sent", message.xep0280_sent), ("carbon_received", message.xep0280_received)):
            if carbon is not None:
                out(event=name, by=str(message.from_), **describe(carbon.stanza))
                return
        what = describe(message)
        if what["state"]:
            out(event="state", state=what["state"], **{"from": what["from"]})
        if message.xep0184_received is not None:
            out(event="receipt", id=message.xep0184_received.message_id, **{"from": what["from"]})
        if not what["body"]:
            return
        out(event="message", **what)
        if message.xep0184_request_receipt:
            self.client.enqueue(aioxmpp.mdr.compose_receipt(message))

    # Messages.

    def compose(self, to, body=None):
        message = aioxmpp.Message(type_=aioxmpp.MessageType.CHAT, to=JID.fromstr(to))
        message.autoset_id()
        message.xep0359_origin_id = aioxmpp.misc.OriginID()
        message.xep0359_origin_id.id_ = message.id_
        if body is not None:
            message.body[None] = body
        return message

    async def send(self, to, body, receipt=False, replaces=None):
        """Sends a message and tells of its acknowledgement and its receipt."""
        message = self.compose(to, body)
        if replaces:
            message.xep0308_replace = aioxmpp.misc.Replace()
            message.xep0308_replace.id_ = replaces

        def tracked(state, response=None):
            if state == aioxmpp.tracking.MessageState.DELIVERED_TO_RECIPIENT:
                out(event="receipt", id=message.id_)

        if receipt:
            tracker = self.receipts.attach_tracker(message)
            tracker.on_state_changed.connect(tracked)
        token = self.client.enqueue(message)

        async def wait():
            await token
            out(event="acked", id=message.id_)

        self.waiting = getattr(self, "waiting", [])
        self.waiting.append(asyncio.ensure_future(wait()))
        return message.id_

    async def chat_state(self, to, state):
        message = self.compose(to)
        message.xep0085_chatstate = aioxmpp.chatstates.ChatState[state.upper()]
        self.client.enqueue(message)

    async def enable_carbons(self):
        await self.carbons.enable()

    # Contacts.

    async def contacts(self):
        return {str(i.jid): "%s %s %s" % (i.subscription, i.name or "-", ",".join(sorted(i.groups))) for i in self.roster.items.values()}

    async def export_roster(self):
        """What a client that keeps its roster gives to its next login."""
        return self.roster.export_as_json()

    async def set_contact(self, jid, name=None, groups=()):
        await self.roster.set_entry(JID.fromstr(jid), name=name, add_to_groups=frozenset(groups))

    async def remove_contact(self, jid):
        await self.roster.remove_entry(JID.fromstr(jid))

    async def subscribe(self, to):
        self.roster.subscribe(JID.fromstr(to))

    async def approve(self, to):
        self.roster.approve(JID.fromstr(to))

    async def unsubscribe(self, to):
        self.roster.unsubscribe(JID.fromstr(to))

    async def set_presence(self, show="", status=""):
        self.client.set_presence(aioxmpp.PresenceState(True, aioxmpp.PresenceShow(show or None)), {None: status} if status else {})

    # What the server is and keeps.

    async def info(self, jid):
        info = await self.disco.query_info(JID.fromstr(jid), require_fresh=True)
        return {"features": sorted(info.features), "identities": sorted("%s/%s" % (i.category, i.type_) for i in info.identities)}

    async def items(self, jid, node=None):
        return sorted("%s %s" % (i.jid, i.node) for i in (await self.disco.query_items(JID.fromstr(jid), node=node, require_fresh=True)).items)

    async def ping(self, jid):
        await self.pinging.ping(JID.fromstr(jid))

    async def version(self, jid):
        query = await aioxmpp.version.query_version(self.client.stream, JID.fromstr(jid))
        return {"name": query.name, "version": query.version}

    async def block(self, jid):
        await self.blocking.block_jids([JID.fromstr(jid)])

    async def unblock(self, jid=None):
        if jid is None:
            await self.blocking.unblock_all()
        else:
            await self.blocking.unblock_jids([JID.fromstr(jid)])

    async def blocklist(self):
        return sorted(map(str, self.blocking.blocklist))

    async def set_nick(self, name, access_model=None):
        return await self.pep.publish(NICK, Nick(name), id_="current", access_model=access_model)

    async def get_nick(self, jid):
        answer = await self.pubsub.get_items(JID.fromstr(jid), NICK, max_items=1)
        return [item.registered_payload.text for item in answer.payload.items]

    async def retract_nick(self):
        await self.pubsub.retract(None, NICK, "current", notify=True)

    async def delete_node(self, node):
        await self.pubsub.delete(None, node)

    async def nodes(self):
        return sorted(node for node, _ in await self.pubsub.get_nodes(self.client.local_jid.bare()))

    async def configure(self, node):
        form = await self.pubsub.get_node_config(None, node)
        return {f.var: list(f.values) for f in form.fields if f.var}

    async def publish_avatar(self, data):
        picture = base64.b64decode(data)
        avatars = aioxmpp.avatar.AvatarSet()
        avatars.add_avatar_image("image/png", image_bytes=picture)
        await self.avatars.publish_avatar_set(avatars)
        return hashlib.sha1(picture).hexdigest()

    async def with_vcard_avatars(self, on):
        """XEP-0153 by aioxmpp itself: the picture in the vCard, its hash in presence."""
        self.avatars.synchronize_vcard = on
        self.avatars.advertise_vcard = on

    async def get_avatar(self, jid, disable_pep=False):
        found = await self.avatars.get_avatar_metadata(JID.fromstr(jid), require_fresh=True, disable_pep=disable_pep)
        return [{"id": d.normalized_id, "type": d.mime_type, "data": base64.b64encode(await d.get_image_bytes()).decode()} for d in found]

    async def disable_avatar(self):
        await self.avatars.disable_avatar()

    async def set_vcard(self, name, picture=None):
        card = await self.vcards.get_vcard()
        for old in card.elements.findall("{vcard-temp}FN"):
            card.elements.remove(old)
        etree.SubElement(card.elements, "{vcard-temp}FN").text = name
        if picture:
            card.set_photo_data("image/png", base64.b64decode(picture))
        await self.vcards.set_vcard(card)

    async def get_vcard(self, jid=None):
        card = await self.vcards.get_vcard(JID.fromstr(jid) if jid else None)
        photo = card.get_photo_data()
        return {"name": card.elements.findtext("{vcard-temp}FN"), "photo": base64.b64encode(photo).decode() if photo else ""}

    async def add_bookmark(self, name, jid):
        self.bookmarks = self.client.summon(aioxmpp.BookmarkClient)
        await self.bookmarks.add_bookmark(aioxmpp.bookmarks.Conference(name, JID.fromstr(jid), nick="me", autojoin=True))

    async def get_bookmarks(self):
        return sorted("%s %s" % (b.name, b.jid) for b in await self.bookmarks.get_bookmarks())

    # Accounts.

    async def commands(self, jid):
        return sorted("%s: %s" % (c.node, c.name) for c in await self.adhoc.get_commands(JID.fromstr(jid)))

    async def execute(self, jid, node, fields):
        """Runs a command of at most one form, and returns what it says in the end."""
        async with await self.adhoc.execute(JID.fromstr(jid), node) as session:
            payload = session.first_payload
            if session.status == aioxmpp.adhoc.xso.CommandStatus.EXECUTING:
                for field in payload.fields:
                    if field.var in fields:
                        field.values[:] = [fields[field.var]]
                payload.type_ = aioxmpp.forms.DataType.SUBMIT
                payload = await session.proceed(action=aioxmpp.adhoc.xso.ActionType.COMPLETE, payload=[payload])
            result = {"status": session.status.value, "notes": [n.body for n in session.response.notes]}
            if payload is not None:
                result["fields"] = {f.var: list(f.values) for f in payload.fields if f.var}
            return result

    async def change_password(self, password):
        await self.registration.change_pass(password)

    async def remove_account(self):
        await self.registration.cancel_registration()

    async def register(self, port, ca, username, password, token=None):
        """Asks for an account before logging in (XEP-0077), with an invite or without."""
        security = aioxmpp.make_security_layer(None, ssl_context_factory=self.trust(ca))
        connector = aioxmpp.connector.STARTTLSConnector()
        _, stream, _ = await connector.connect(asyncio.get_running_loop(), security, "localhost", "localhost", port, 20, base_logger=logging.getLogger("ibr"))
        try:
            if token:
                invite = aioxmpp.misc.Preauth()
                invite.token = token
                request = aioxmpp.IQ(to=JID.fromstr("localhost"), type_=aioxmpp.IQType.SET, payload=invite)
                request.autoset_id()
                await aioxmpp.protocol.send_and_wait_for(stream, [request], [aioxmpp.IQ], timeout=20)
            fields = await aioxmpp.ibr.get_registration_fields(stream)
            if fields is None:  # aioxmpp takes an error for an answer here
                raise ValueError("no form")
            await aioxmpp.ibr.register(stream, aioxmpp.ibr.Query(username, password))
            return sorted(name for name in ("username", "password", "email", "name", "nick", "instructions") if getattr(fields, name) is not None)
        finally:
            stream.abort()

    async def stop(self):
        stopped = asyncio.get_running_loop().create_future()
        self.client.on_stopped.connect(stopped, self.client.on_stopped.AUTO_FUTURE)
        self.client.stop()
        await asyncio.wait_for(stopped, 20)


if __name__ == "__main__":
    asyncio.run(serve(Commands()))
