// SPDX-License-Identifier: Apache-2.0

package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"testing"
)

const (
	tokensOffer = "<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-256</mechanism><inline><bind xmlns='urn:xmpp:bind:0'/>" +
		"<sm xmlns='urn:xmpp:sm:3'/><fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast></inline></authentication>"
	agentID   = "d4565fa7-4d72-4749-b3d3-740edbf87770"
	success2  = "<success xmlns='urn:xmpp:sasl:2'><additional-data>"
	identity2 = "</additional-data><authorization-identifier>ann@localhost/r/1</authorization-identifier>"
)

// shown is what one side shows of a token, in base64.
func shown(prefix, who string) string {
	mac := hmac.New(sha256.New, []byte("the token"))
	mac.Write([]byte(who))
	return base64.StdEncoding.EncodeToString(append([]byte(prefix), mac.Sum(nil)...))
}

// tokenAuth is the request of a client that has a token.
func tokenAuth(resume string) string {
	return `<authenticate xmlns="urn:xmpp:sasl:2" mechanism="HT-SHA-256-NONE"><initial-response>` + shown("ann\x00", "Initiator") + `</initial-response><user-agent id="` +
		agentID + `"/><fast xmlns="urn:xmpp:fast:0"/>` + resume + `<bind xmlns="urn:xmpp:bind:0"><tag>r</tag><enable xmlns="urn:xmpp:sm:3" resume="true"/></bind></authenticate>`
}

func TestToken(t *testing.T) {
	p := newPeer(t)
	cfg := p.config()
	cfg.Token = &Token{client: agentID, value: "the token"}
	s := dial(t, p, cfg, func() error {
		return errors.Join(p.accept(), p.open(tokensOffer), p.hear(tokenAuth("")),
			p.say(success2+shown("", "Responder")+identity2+"<bound xmlns='urn:xmpp:bind:0'>"+enabled+"</bound></success><stream:features/>"))
	})
	if s.JID() != "ann@localhost/r/1" || s.Resumed() {
		t.Error(s.JID(), s.Resumed())
	}
	s.Cut()
	cfg.Resume = s.Resumption()
	again := dial(t, p, cfg, func() error {
		return errors.Join(p.accept(), p.open(tokensOffer), p.hear(tokenAuth(`<resume xmlns="urn:xmpp:sm:3" previd="sm1" h="0"/>`)),
			p.say(success2+shown("", "Responder")+identity2+"<token xmlns='urn:xmpp:fast:0' token='another'/><resumed xmlns='urn:xmpp:sm:3' previd='sm1' h='0'/></success>"))
	})
	if !again.Resumed() || again.Stream() != s.Stream() {
		t.Error("it was not resumed")
	}
	if _, value := cfg.Token.now(); value != "another" || !cfg.Token.Held() {
		t.Error(value)
	}
	if fresh := new(Token); fresh.Held() {
		t.Error("a token from nowhere")
	}
}

func TestTokenRefused(t *testing.T) {
	for _, c := range []struct{ offer, says, want string }{
		{plainOffer, "", "no SASL2"},
		{tokensOffer, "<failure xmlns='urn:xmpp:sasl:2'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>", "not-authorized"},
		{tokensOffer, "<failure xmlns='urn:xmpp:sasl:2'/>", "not authorised"},
		{tokensOffer, success2 + shown("", "Initiator") + identity2 + "</success>", "does not know the token"},
		{tokensOffer, success2 + "!" + identity2 + "</success>", "SASL2 data"},
		{tokensOffer, success2 + shown("", "Responder") + identity2 + "</success>", "nothing was bound"},
		{tokensOffer, success2 + shown("", "Responder") + "</additional-data><authorization-identifier>bob@localhost/r</authorization-identifier></success>", "logged in as"},
		{tokensOffer, success2 + shown("", "Responder") + identity2 + "<bound xmlns='urn:xmpp:bind:0'/></success><stream:features/>", "stream management refused"},
		{tokensOffer, "<challenge xmlns='urn:xmpp:sasl:2'/>", "instead of SASL2's"},
	} {
		p := newPeer(t)
		cfg := p.config()
		cfg.Token = &Token{client: agentID, value: "the token"}
		done := p.run(func() error {
			if err := errors.Join(p.accept(), p.open(c.offer)); err != nil || c.says == "" {
				return err
			}
			return errors.Join(p.hear(tokenAuth("")), p.say(c.says))
		})
		_, err := Dial(testContext(t), cfg)
		wait(t, done)
		contains(t, err, c.want)
	}
}
