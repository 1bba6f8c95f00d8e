// SPDX-License-Identifier: Apache-2.0

package negotiate

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strconv"
	"strings"

	"bavard/internal/account"
	"bavard/internal/jid"
	"bavard/internal/stanza"
	"bavard/internal/xmlstream"
)

// authentication makes the stream feature of SASL2 (XEP-0388 §feature @1.0.4),
// with what can be done in the same request. PLAIN is not among the mechanisms:
// each client that knows SASL2 knows SCRAM.
func (n *negotiation) authentication() *xmlstream.Element {
	n.offer2 = account.NewOffer(false, n.offer.Bindings)
	f := xmlstream.New(stanza.NSSASL2, "authentication")
	for _, m := range n.offer2.Mechanisms {
		f.Add(xmlstream.NewText(stanza.NSSASL2, "mechanism", m))
	}
	inline := xmlstream.New(stanza.NSSASL2, "inline")
	if n.deps.Resume != nil {
		inline.Add(xmlstream.New(stanza.NSSM, "sm")) // XEP-0198 §inline-resume @1.6.3
	}
	with := xmlstream.New(stanza.NSBind2, "inline")
	for _, feature := range n.deps.Inline {
		with.Add(xmlstream.New(stanza.NSBind2, "feature", "var", feature))
	}
	fast := xmlstream.New(stanza.NSFAST, "fast") // XEP-0484 §support @0.2.0; no early data: this TLS has none
	for _, m := range n.offer2.TokenMechanisms() {
		fast.Add(xmlstream.NewText(stanza.NSFAST, "mechanism", m))
	}
	return f.Add(inline.Add(xmlstream.New(stanza.NSBind2, "bind").Add(with), fast))
}

// request is what a client asks for with <authenticate/> (XEP-0388 §initiation
// @1.0.4).
type request struct {
	attempt
	entry  account.Entry
	bind   *xmlstream.Element // nil: not asked for
	resume *xmlstream.Element // likewise
	issued *account.Issued    // a new token for the client, nil for none
}

// parseRequest reads <authenticate/>. Children that nobody here knows are
// ignored. The error is an *account.Failure.
func parseRequest(e *xmlstream.Element) (*request, error) {
	r := &request{attempt: attempt{Attempt: account.Attempt{Mechanism: e.Get("mechanism")}, silent: true}}
	r.bind, r.resume = e.Child(stanza.NSBind2, "bind"), e.Child(stanza.NSSM, "resume")
	if initial := e.Child(stanza.NSSASL2, "initial-response"); initial != nil {
		var err error
		if r.initial, err = decode(initial.Text()); err != nil {
			return nil, err
		}
		r.silent = false
	}
	if agent := e.Child(stanza.NSSASL2, "user-agent"); agent != nil {
		var ok bool
		r.Agent, ok = account.NewAgent(agent.Get("id"),
			agent.Child(stanza.NSSASL2, "software").Text(), agent.Child(stanza.NSSASL2, "device").Text())
		if !ok {
			return nil, &account.Failure{Condition: account.MalformedRequest, Text: "the id of a user agent is a UUID"}
		}
	}
	r.entry = account.Entry{Agent: r.Agent, Token: e.Child(stanza.NSFAST, "request-token").Get("mechanism")}
	return r, r.parseShown(e)
}

// parseShown reads what the client shows, if it is no password.
func (r *request) parseShown(e *xmlstream.Element) error {
	bad := &account.Failure{Condition: account.MalformedRequest}
	kinds := 0
	if fast := e.Child(stanza.NSFAST, "fast"); fast != nil {
		kinds++
		r.Shown = account.Token
		// The count is for early data, which is not offered (XEP-0484 §fast-auth @0.2.0).
		if count, ok := fast.Lookup("count"); ok {
			if _, err := strconv.ParseUint(count, 10, 31); err != nil {
				return bad
			}
		}
		switch fast.Get("invalidate") {
		case "1", "true":
			r.entry.Invalidate = true
		case "", "0", "false":
		default:
			return bad
		}
	}
	if e.Child(stanza.NSLink, "link") != nil {
		kinds++
		r.Shown = account.Link
	}
	if e.Child(stanza.NSRecovery, "recovery") != nil {
		kinds++
		r.Shown = account.Recovery
	}
	if kinds > 1 {
		return bad
	}
	return nil
}

// sasl2 runs the exchange that <authenticate/> begins. Its success is told once
// the rest of the request has been dealt with.
func (n *negotiation) sasl2(ctx context.Context, e *xmlstream.Element) (proven, *xmlstream.Element, error) {
	r, err := parseRequest(e)
	if err != nil {
		return proven{}, nil, n.fail(sasl2, err)
	}
	r.Offer, r.From, r.resumes = n.offer2, n.from, r.resume != nil && n.deps.Resume != nil
	who, _, err := n.exchange(ctx, sasl2, r.attempt)
	if err != nil || who.Account.JID == "" {
		return proven{}, nil, err
	}
	ctx, cancel := n.within(ctx)
	defer cancel()
	// Before the rest: what it has shown may just have become void, and then it may
	// try something else.
	if r.issued, err = n.deps.Accounts.Enter(ctx, who.Proof, r.entry); err != nil {
		return proven{}, nil, n.fail(sasl2, err)
	}
	who.request = r
	return who, nil, nil
}

// together deals with what a client asked for in one request: it resumes a
// session, or else binds a resource, or else leaves that to the client
// (XEP-0386 §bind-request @1.1.0, XEP-0198 §inline-resume @1.6.3).
func (n *negotiation) together(ctx context.Context, who proven, bare jid.JID, login Login) (Login, error) {
	r := who.request
	login.Client = n.deps.Accounts.Client(who.Account, r.Agent)
	login.Inline = &Inline{Bind: r.bind}
	var results []*xmlstream.Element
	if r.resume != nil && n.deps.Resume != nil {
		failed := n.takeUp(ctx, r.resume, &login)
		if failed == nil {
			login.Inline.Bind = nil
			login.Inline.success = n.success(who, login.JID, nil)
			return login, nil
		}
		results = append(results, failed)
	}
	if r.bind == nil {
		login.Inline = nil
		if err := n.stream.WriteElement(n.success(who, bare, results)()); err != nil {
			return Login{}, err
		}
		if err := n.stream.WriteElement(n.featuresAfter()); err != nil { // no restart: §success of XEP-0388
			return Login{}, err
		}
		return n.establish(ctx, bare, login, r.resume != nil)
	}
	full, err := resource(bare, r.bind.Child(stanza.NSBind2, "tag").Text(), n.deps.Accounts.Suffix(who.Account, r.Agent))
	if err != nil {
		return Login{}, n.internal(err)
	}
	if n.deps.Room != nil && !n.deps.Room(full) {
		return Login{}, n.full()
	}
	login.JID = full
	login.Inline.success = n.success(who, full, results)
	var left []*xmlstream.Element // that is not in use already
	if r.bind.Child(stanza.NSSM, "enable") == nil {
		left = append(left, xmlstream.New(stanza.NSSM, "sm"))
	}
	login.Inline.Features = n.featuresOf(left...)
	return login, nil
}

// full refuses a device because there are too many. SASL2 has no other word
// for it.
func (n *negotiation) full() error {
	if err := n.fail(sasl2, &account.Failure{Condition: account.TemporaryAuthFailure, Text: tooManyDevices}); err != nil {
		return err
	}
	return stanza.StreamErr(stanza.StreamPolicyViolation, tooManyDevices)
}

// success gives what makes <success/> (XEP-0388 §success @1.0.4) of who logged
// in as j.
func (n *negotiation) success(who proven, j jid.JID, results []*xmlstream.Element) func(...*xmlstream.Element) *xmlstream.Element {
	return func(more ...*xmlstream.Element) *xmlstream.Element {
		e := xmlstream.New(stanza.NSSASL2, "success")
		if len(who.data) > 0 {
			e.Add(xmlstream.NewText(stanza.NSSASL2, "additional-data", base64.StdEncoding.EncodeToString(who.data)))
		}
		e.Add(xmlstream.NewText(stanza.NSSASL2, "authorization-identifier", j.String()))
		if t := who.request.issued; t != nil { // XEP-0484 §token-response @0.2.0
			e.Add(xmlstream.New(stanza.NSFAST, "token", "token", t.Token, "expiry", t.Expires.UTC().Format("2006-01-02T15:04:05Z")))
		}
		return e.Add(results...).Add(more...)
	}
}

// resource makes the full JID of a device: its tag, if that can stand in an
// address, and what tells it from others (XEP-0386 §identifiers @1.1.0). That is
// the same each time for a client that says which one it is.
func resource(bare jid.JID, tag, suffix string) (jid.JID, error) {
	if suffix == "" {
		suffix = strings.ToLower(rand.Text()[:13])
	}
	if len(tag) > 0 && len(tag)+1+len(suffix) <= maxResource {
		if full, err := bare.WithResource(tag + "/" + suffix); err == nil {
			return full, nil
		}
	}
	return bare.WithResource(suffix)
}
