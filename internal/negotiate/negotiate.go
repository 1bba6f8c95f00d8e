// SPDX-License-Identifier: Apache-2.0

// Package negotiate turns an anonymous stream into an authenticated, bound
// session or a refusal: stream headers, STARTTLS, registration by invite,
// SASL, resource binding or resumption (RFC 6120 §4 to §7, RFC 7395,
// XEP-0077, XEP-0445, XEP-0198), the last three in one request where the client
// knows SASL2 (XEP-0388, XEP-0386). It is one linear script with a bound on its
// time, its elements and its failures.
package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"bavard/internal/account"
	"bavard/internal/jid"
	"bavard/internal/listen"
	"bavard/internal/stanza"
	"bavard/internal/state"
	"bavard/internal/xmlstream"
)

// Bounds of a negotiation.
const (
	// timeout is the default of Deps.Timeout.
	timeout = 10 * time.Second
	// signupTimeout applies once a valid invite was shown, or the form got that
	// anybody may fill in: a person may be typing.
	signupTimeout = 60 * time.Second
	// passwordWait is the default of Deps.PasswordWait.
	passwordWait = 5 * time.Second
	maxElements  = 40 // from the client, all in all
	// maxFailures of SASL: RFC 6120 §6.4.5 asks for 2 to 5. slixmpp before 1.8.5,
	// and so Poezio, needs four: it binds to tls-unique where TLS 1.3 has none,
	// then takes itself for downgraded, and then goes on to PLAIN.
	maxFailures = 5
	maxSignups  = 5 // requests of registration refused
)

// Deps is what a negotiation needs. Domain and Accounts are required.
type Deps struct {
	// Domain that is served, normalised.
	Domain   string
	Accounts *account.Service
	// TLS for STARTTLS; nil offers none.
	TLS *tls.Config
	// AllowPlaintext lets clients on this machine log in without TLS.
	AllowPlaintext bool
	// Features gives the stream features after authentication that are not
	// negotiation's own, such as roster versions and entity capabilities; may
	// be nil.
	Features func() []*xmlstream.Element
	// Resume takes up an earlier session of the account (XEP-0198 §resumption
	// @1.6.3); nil offers no resumption.
	Resume func(ctx context.Context, acc state.Account, previd string, h uint32) Resumption
	// Room reports whether a device can be connected as this full JID; nil is
	// always.
	Room func(full jid.JID) bool
	// Current waits until what is read of accounts and sessions is no older
	// than the call; may be nil.
	Current func(ctx context.Context) error
	// Elsewhere says what is told whoever has just proven to be this account, when they had better
	// log in at another server; nil, or an answer of nil, lets them in.
	Elsewhere func(account string) *stanza.StreamError
	// Inline names what can be switched on together with binding a resource
	// (XEP-0386 §usecases @1.1.0), such as carbons: by its feature in service
	// discovery.
	Inline []string
	// Limits on what an authenticated client sends; xmlstream.AfterAuth when
	// zero.
	Limits xmlstream.Limits
	// Idle is how long an authenticated client may be silent until it is asked for a
	// sign of life; it is told (XEP-0478). 0 tells nothing.
	Idle time.Duration
	// Timeout bounds authentication and then, anew, what follows it: on a slow
	// network each is several round trips. 10 s when zero.
	Timeout time.Duration
	// PasswordWait bounds how long a login with a password waits for those that
	// show a token or resume a session, when there are too many to serve all at
	// once. 5 s when zero.
	PasswordWait time.Duration
	// Log, slog.Default when nil.
	Log *slog.Logger
}

// Resumption is the answer to <resume/>.
type Resumption struct {
	// Session is the session taken up, as the session package knows it; nil
	// when there is none.
	Session any
	// JID is the full JID of that session.
	JID jid.JID
	// H is how many stanzas of the lost session were handled at least; valid
	// when Known. It is told to the client when Session is nil.
	H     uint32
	Known bool
}

// Login is a negotiation that succeeded.
type Login struct {
	// JID is the full JID.
	JID jid.JID
	// Account without its credentials.
	Account state.Account
	// Proof of who it is.
	Proof account.Proof
	// StreamID is the id of the stream, unpredictable.
	StreamID  string
	Mechanism string
	// Resumed is Resumption.Session, nil for a session that was bound.
	// Nothing was answered to the client's <resume/> then.
	Resumed any
	// H is the h of the client's <resume/>.
	H uint32
	// Client names the client software on its device, the same at each login;
	// "" when it did not say what it is.
	Client string
	// Inline is what is still to be done and to be answered, nil where nothing is.
	Inline *Inline
}

// Inline is a request that asks for all at once (XEP-0388). It is answered by
// what Success gives, and, unless a session was resumed, by Features after that.
type Inline struct {
	// Bind asks for what is switched on with the resource (XEP-0386
	// §bind-request @1.1.0); nil where a session is resumed.
	Bind *xmlstream.Element
	// Features are those of the stream from now on.
	Features *xmlstream.Element
	success  func(results ...*xmlstream.Element) *xmlstream.Element
}

// Success makes the answer, with what came of each part of the request.
func (i *Inline) Success(results ...*xmlstream.Element) *xmlstream.Element {
	return i.success(results...)
}

// Run negotiates. When it errs it has closed the stream and said why to the
// client; the error is for the log. When it succeeds the stream has the limits
// after authentication and no deadline. The client of one that is cancelled is told the cause, if that is
// a *stanza.StreamError, else that the server goes.
func Run(ctx context.Context, s *listen.Stream, deps Deps) (Login, error) {
	n := &negotiation{stream: s, deps: deps, log: deps.Log, signup: deps.Accounts.Signup(s.Block()), begun: time.Now(), cancelled: func() error { return Cancelled(ctx) }}
	if n.log == nil {
		n.log = slog.Default()
	}
	if n.deps.Timeout <= 0 {
		n.deps.Timeout = timeout
	}
	if n.deps.PasswordWait <= 0 {
		n.deps.PasswordWait = passwordWait
	}
	n.until(n.deps.Timeout)
	login, err := n.run(ctx)
	if err != nil {
		s.Close(listen.StreamError(err))
		return Login{}, fmt.Errorf("negotiate: %w", err)
	}
	s.SetDeadline(time.Time{})
	return login, nil
}

type negotiation struct {
	stream *listen.Stream
	deps   Deps
	log    *slog.Logger
	signup *account.Signup
	begun  time.Time // of the stage
	end    time.Time
	// cancelled is what the client is told when the negotiation was.
	cancelled func() error

	header    listen.Header // ours, of the current stream
	from      jid.JID       // bare, as the client's header says; zero when it does not
	offer     account.Offer // of the current stream; zero when it offers no login
	offer2    account.Offer // that of SASL2
	elements  int
	failures  int
	signups   int
	mechanism string
}

// until bounds the stage from its beginning.
func (n *negotiation) until(d time.Duration) {
	n.end = n.begun.Add(d)
	n.stream.SetDeadline(n.end)
}

func (n *negotiation) run(ctx context.Context) (Login, error) {
	if err := n.open(ctx, jid.JID{}, n.featuresBefore); err != nil {
		return Login{}, err
	}
	who, err := n.authenticate(ctx)
	if err != nil {
		return Login{}, err
	}
	n.stream.Authenticated()
	n.begun = time.Now()
	n.until(n.deps.Timeout)
	n.stream.SetLimits(n.deps.Limits)
	bare, err := jid.ParseBare(who.Account.JID)
	if err != nil {
		return Login{}, fmt.Errorf("stored account: %w", err)
	}
	login := Login{Account: who.Account, Proof: who.Proof, StreamID: n.header.ID, Mechanism: n.mechanism}
	login.Account.Credentials = nil
	if who.request != nil {
		return n.together(ctx, who, bare, login)
	}
	n.stream.Restart()
	if err := n.open(ctx, bare, n.featuresAfter); err != nil {
		return Login{}, err
	}
	login.StreamID = n.header.ID
	return n.establish(ctx, bare, login, false)
}

// within gives a context that ends with the stage.
func (n *negotiation) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, n.end)
}

// mayLogin reports whether secrets may pass over the stream as it is.
func (n *negotiation) mayLogin() bool {
	return n.stream.Secure() || n.deps.AllowPlaintext && n.stream.Loopback()
}

func (n *negotiation) canUpgrade() bool { return n.deps.TLS != nil && n.stream.CanStartTLS() }

// open exchanges stream headers and sends the features. known is who has
// authenticated, zero before.
func (n *negotiation) open(_ context.Context, known jid.JID, features func() *xmlstream.Element) error {
	theirs, err := n.stream.ReadOpen()
	if err != nil {
		return err
	}
	n.header = listen.Header{From: n.deps.Domain, ID: listen.NewID(), Version: "1.0", Lang: "en"}
	n.from = jid.JID{}
	from, fromErr := jid.Parse(theirs.From)
	if fromErr == nil && theirs.From != "" {
		n.from = from.Bare()
		n.header.To = n.from.String() // RFC 6120 §4.7.2
	}
	refused := n.checkHeader(theirs)
	switch {
	case refused != nil:
	case !known.IsZero() && theirs.From != "" && (fromErr != nil || from.Bare() != known):
		refused = stanza.StreamErr(stanza.StreamInvalidFrom, "") // RFC 6120 §4.9.3.9
	case !n.mayLogin() && !n.canUpgrade():
		refused = stanza.StreamErr(stanza.StreamPolicyViolation, "TLS is required here")
	default:
		return n.stream.WriteOpen(n.header, features())
	}
	if err := n.stream.WriteOpen(n.header); err != nil {
		return err
	}
	return refused
}

// checkHeader follows RFC 6120 §4.9.3.6 (host-unknown) and §4.7.5 (version).
func (n *negotiation) checkHeader(h listen.Header) error {
	to, err := jid.Parse(h.To)
	if err != nil || to.String() != n.deps.Domain {
		return stanza.StreamErr(stanza.StreamHostUnknown, "")
	}
	major, minor, ok := strings.Cut(h.Version, ".")
	if v, err := strconv.ParseUint(major, 10, 16); !ok || err != nil || v < 1 {
		return stanza.StreamErr(stanza.StreamUnsupportedVersion, "")
	}
	if _, err := strconv.ParseUint(minor, 10, 16); err != nil {
		return stanza.StreamErr(stanza.StreamUnsupportedVersion, "")
	}
	return nil
}

// featuresBefore are the features of a stream that has not authenticated.
func (n *negotiation) featuresBefore() *xmlstream.Element {
	f := xmlstream.New(stanza.NSStream, "features")
	if n.canUpgrade() {
		start := xmlstream.New(stanza.NSTLS, "starttls")
		if !n.mayLogin() {
			start.Add(xmlstream.New(stanza.NSTLS, "required"))
		}
		f.Add(start)
	}
	if !n.mayLogin() {
		return f
	}
	n.offer = account.NewOffer(true, bindings(n.stream))
	mechs := xmlstream.New(stanza.NSSASL, "mechanisms")
	for _, m := range n.offer.Mechanisms {
		mechs.Add(xmlstream.NewText(stanza.NSSASL, "mechanism", m))
	}
	if types := n.offer.Types(); len(types) > 0 {
		f.Add(bindingTypes(types))
	}
	f.Add(n.authentication())
	// Both always: there may be an invite, and clients that have one look for
	// either. Whether one is needed the form tells.
	return f.Add(mechs,
		xmlstream.New(stanza.NSRegFeature, "register"), // XEP-0077 §streamfeature @2.4
		xmlstream.New(stanza.NSIBRToken, "register"))   // XEP-0445 §discover @0.2.0
}

// featuresAfter are those of a stream that has.
func (n *negotiation) featuresAfter() *xmlstream.Element {
	return n.featuresOf(
		xmlstream.New(stanza.NSBind, "bind"),
		xmlstream.New(stanza.NSSession, "session").Add(xmlstream.New(stanza.NSSession, "optional")),
		xmlstream.New(stanza.NSSM, "sm"))
}

// featuresOf adds the features that every device gets.
func (n *negotiation) featuresOf(own ...*xmlstream.Element) *xmlstream.Element {
	f := xmlstream.New(stanza.NSStream, "features").Add(own...)
	f.Add(xmlstream.New(stanza.NSCSI, "csi"), n.limits()) // XEP-0352 §discovery @1.0.0
	if n.deps.Features != nil {
		f.Add(n.deps.Features()...)
	}
	return f
}

// limits tells an authenticated client how large its stanzas may be, and how long
// it may be silent (XEP-0478 §advertise @0.2.0). Those before are not told: clients
// remember them, and what they send then is small.
func (n *negotiation) limits() *xmlstream.Element {
	most := n.deps.Limits.MaxBytes
	if most <= 0 {
		most = xmlstream.AfterAuth.MaxBytes
	}
	e := xmlstream.New(stanza.NSLimits, "limits").Add(xmlstream.NewText(stanza.NSLimits, "max-bytes", strconv.Itoa(most)))
	if n.deps.Idle > 0 {
		e.Add(xmlstream.NewText(stanza.NSLimits, "idle-seconds", strconv.Itoa(int(n.deps.Idle/time.Second))))
	}
	return e
}

// read gives the client's next element, within the bound on their number.
func (n *negotiation) read() (*xmlstream.Element, error) {
	if n.elements++; n.elements > maxElements {
		return nil, stanza.StreamErr(stanza.StreamPolicyViolation, "too many attempts")
	}
	return n.stream.Read()
}

// authenticate goes on until the client has authenticated.
func (n *negotiation) authenticate(ctx context.Context) (proven, error) {
	e, err := n.read()
	for err == nil {
		switch {
		case e.Is(stanza.NSTLS, "starttls"):
			err = n.startTLS(ctx)
		case !n.mayLogin():
			err = n.insecure(e)
		case e.Is(stanza.NSSASL, "auth"), e.Is(stanza.NSSASL2, "authenticate"):
			do := n.sasl
			if e.Name.Space == stanza.NSSASL2 {
				do = n.sasl2
			}
			var who proven
			// It returns the element that interrupted the exchange, if any.
			who, e, err = do(ctx, e)
			if err != nil || who.Account.JID != "" {
				return who, err
			}
			if e != nil {
				continue
			}
		default:
			err = n.register(ctx, e)
		}
		if err == nil {
			e, err = n.read()
		}
	}
	return proven{}, err
}

func (n *negotiation) startTLS(ctx context.Context) error {
	if !n.canUpgrade() { // RFC 6120 §5.4.2.2
		_ = n.stream.WriteElement(xmlstream.New(stanza.NSTLS, "failure"))
		return errors.New("starttls where there is none")
	}
	ctx, cancel := n.within(ctx)
	defer cancel()
	err := n.stream.StartTLS(ctx, n.deps.TLS)
	if errors.Is(err, listen.ErrPipelined) {
		_ = n.stream.WriteElement(xmlstream.New(stanza.NSTLS, "failure"))
	}
	if err != nil {
		return err
	}
	// What came in the clear may have been somebody else's, a token shown among
	// it (RFC 6120 §5.4.3.3).
	n.signup = n.deps.Accounts.Signup(n.stream.Block())
	return n.open(ctx, jid.JID{}, n.featuresBefore)
}

// insecure answers what must wait for TLS.
func (n *negotiation) insecure(e *xmlstream.Element) error {
	for _, in := range []profile{sasl1, sasl2} {
		if e.Is(in.space, in.begin) {
			return n.fail(in, &account.Failure{Condition: account.EncryptionRequired})
		}
	}
	return stanza.StreamErr(stanza.StreamPolicyViolation, "TLS is required here")
}

// register answers requests of registration; all else is not allowed to whom
// has not authenticated (RFC 6120 §4.9.3.12).
func (n *negotiation) register(ctx context.Context, e *xmlstream.Element) error {
	ctx, cancel := n.within(ctx)
	defer cancel()
	if n.deps.Current != nil && e.Is(stanza.NSClient, "iq") {
		if err := n.deps.Current(ctx); err != nil {
			return n.internal(err)
		}
	}
	made := n.signup.Made()
	reply := n.signup.Handle(ctx, e)
	if reply == nil {
		return stanza.StreamErr(stanza.StreamNotAuthorized, "")
	}
	n.logSignup(made)
	if reply.Get("type") == "error" {
		n.signups++
	}
	if n.signup.Admitted() {
		n.until(signupTimeout)
	}
	if err := n.stream.WriteElement(reply); err != nil {
		return err
	}
	if n.signups > maxSignups {
		return stanza.StreamErr(stanza.StreamPolicyViolation, "too many attempts")
	}
	return nil
}

// logSignup says what came of a request; made is the account there was before.
func (n *negotiation) logSignup(made jid.JID) {
	by := "open"
	if n.signup.Invited() {
		by = "invite"
	}
	switch {
	case n.signup.Cause() != nil:
		n.log.Error("registration failed", "conn", n.stream, "by", by, "err", n.signup.Cause())
	case n.signup.Refusal() != nil:
		n.log.Info("registration refused", "conn", n.stream, "by", by, "reason", string(n.signup.Refusal().Condition))
	case n.signup.Made() != made:
		n.log.Info("account made", "conn", n.stream, "by", by, "account", n.signup.Made().String())
	}
}

// Cancelled is what a client is told whose negotiation ended with ctx: the cause, if that is a *stanza.StreamError, else
// that the server goes.
func Cancelled(ctx context.Context) *stanza.StreamError {
	var told *stanza.StreamError
	if errors.As(context.Cause(ctx), &told) {
		return told
	}
	return stanza.StreamErr(stanza.StreamSystemShutdown, "")
}

// internal hides an error of ours behind what may be said of it. A server that stops
// while it is asked for something is no error: its time is not up (within), it is ended.
func (n *negotiation) internal(err error) error {
	if errors.Is(err, context.Canceled) {
		return n.cancelled()
	}
	level := slog.LevelError
	if errors.Is(err, context.DeadlineExceeded) {
		level = slog.LevelWarn // what kept it says so where it is
	}
	n.log.Log(context.Background(), level, "negotiation failed", "conn", n.stream, "err", err)
	return stanza.StreamErr(stanza.StreamInternalServerError, "")
}
