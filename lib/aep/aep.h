/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One AEP tenant: what every call to it has in common. A call waits for room in its service's
 * rate limit, then for an access token, then is sent with the platform headers (Authorization,
 * x-api-key, x-gw-ims-org-id, x-sandbox-name); a 401 drops the token and repeats the call once
 * with a fresh one. 429, 503, 5xx and cuts slow the service down. No other retries happen here.
 *
 * Sources: Adobe "Authentication and access Experience Platform APIs" (headers), "Platform FAQ
 * and troubleshooting guide" (error codes), Catalog and Data Access API references.
 */
#ifndef SLUICE_AEP_AEP_H
#define SLUICE_AEP_AEP_H

#include "lib/aep/aep_error.h"
#include "lib/base/json.h"
#include "lib/base/secret.h"
#include "lib/net/http.h"
#include "lib/net/ratelimit.h"
#include "lib/net/traffic.h"

struct aep;

/* How access tokens are come by: OAuth server-to-server; legacy JWT exchange; a ready file. */
enum aep_auth { AEP_OAUTH, AEP_JWT, AEP_TOKEN };

struct aep_options {
    const char *endpoint;     /* https://platform.adobe.io */
    const char *ims_endpoint; /* https://ims-na1.adobelogin.com */
    const char *org;          /* …@AdobeOrg */
    const char *client_id;
    enum aep_auth auth;
    /* Files are read again for each token. NULL: the credential file (credential.h) has it. */
    const char *client_secret_file; /* a line, or two while the secret is rotated */
    const char *credential_file, *token_file, *private_key_file;
    const char *scopes; /* comma separated */
    const char *technical_account, *metascope;
    const char *sandbox;
    double requests_per_second;   /* of each service; shared by the fleet */
    int window_start, window_max; /* requests in flight per service */
    /* Counts the requests: AEP_SERVICES of them, and one more for IMS; NULL = nobody does. */
    struct traffic *traffic;
};

/* `api` carries IMS and listings, `data` file contents; both on `loop`, both outlive it. */
struct aep *aep_new(struct loop *loop, struct http *api, struct http *data,
                    const struct aep_options *options);
/*
 * Calls end with ERR_CANCELLED: those that wait at once, those in flight when their HTTP
 * request does (http_free sees to that at the latest).
 */
void aep_free(struct aep *aep);

/* Catalog; Data Access listings; Data Access file contents; Schema Registry. */
enum aep_service { AEP_CATALOG, AEP_LISTING, AEP_CONTENT, AEP_SCHEMA, AEP_SERVICES };
struct ratelimit *aep_limit(struct aep *aep, enum aep_service service); /* to read; room */
/* Requests per second of each service, for all daemons together. */
void aep_set_rate(struct aep *aep, double per_second, int live_daemons);

/* Server time: the last Date header seen, advanced by our monotonic clock; else our own. */
struct wall aep_now(const struct aep *aep);

/* How each call ended, as far as it says something about one of the services behind it. */
enum aep_upstream { AEP_OF_IMS, AEP_OF_CATALOG, AEP_OF_ACCESS };
typedef void aep_note(void *owner, enum aep_upstream upstream, const struct fault *fault);
void aep_watch(struct aep *aep, void *owner, aep_note *note);
/* For the health check: OK, or why there is no token. */
const struct fault *aep_auth_fault(const struct aep *aep);
int64_t aep_token_expires_in_ms(const struct aep *aep); /* 0 = none */
int aep_secret_in_use(const struct aep *aep); /* 1 or 2: which one worked; 0 = none has yet */

/*
 * One call, embedded in typed requests (catalog.h, access.h) and kept by its owner until `done`
 * (exactly once, never from inside aep_start or aep_cancel, the last act).
 */
struct aep_call {
    struct http_req http; /* method, timeouts, on_headers, on_data, max_body are the owner's */
    enum aep_service service;
    struct buf path; /* path and query, from the origin on; URLs are never taken from answers */
    void (*done)(struct aep_call *call);
    struct fault fault; /* OK: a 2xx answer is in http; else why, with the body's message */
    const char *accept; /* NULL = application/json, and nothing for AEP_CONTENT; borrowed */
    int64_t range_first, range_last; /* Range of an AEP_CONTENT call; range_last < 0 = none */
    /* private */
    struct aep *aep;
    struct secret token; /* what it was sent with: a refusal must not drop a newer one */
    struct list_node node;
    struct list *list;
    struct deferred finish;
    struct mono started;
    bool repeated, took_room;
};
void aep_start(struct aep *aep, struct aep_call *call);
void aep_cancel(struct aep_call *call);
void aep_call_release(struct aep_call *call); /* in or after done; zeroes */

#endif
