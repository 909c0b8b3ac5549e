/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl's settings and curl's errors. A handle serves many requests: what is the same for all of
 * them is set once, http_easy_prepare() sets the rest anew each time.
 */
#include "lib/net/http_parts.h"

#include <string.h>
#include <sys/socket.h>

#define RECV_DEFAULT (16 * 1024)
#define SEND_DEFAULT (64 * 1024)

static const struct {
    CURLoption option;
    long value;
} constant[] = {
    { CURLOPT_NOSIGNAL, 1 },
    { CURLOPT_QUICK_EXIT, 1 }, /* never join a resolver thread: that blocks the loop */
    { CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 }, /* HTTP/2 uploads spin in curl 7.88 */
    { CURLOPT_FOLLOWLOCATION, 0 },
    { CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 }, /* or later, whatever the system allows */
    { CURLOPT_PATH_AS_IS, 1 }, /* signatures cover the path as it was written */
    { CURLOPT_HTTP_CONTENT_DECODING, 0 },
    { CURLOPT_HTTP09_ALLOWED, 0 },
    { CURLOPT_SUPPRESS_CONNECT_HEADERS, 1 },
    { CURLOPT_DISALLOW_USERNAME_IN_URL, 1 },
    { CURLOPT_NETRC, CURL_NETRC_IGNORED },
    { CURLOPT_TCP_KEEPALIVE, 1 },
    { CURLOPT_MAXLIFETIME_CONN, 300 }, /* follow DNS when a service moves */
};

/* Before the connection is made: the window that TCP offers is chosen then. */
static int on_new_socket(void *owner, curl_socket_t fd, curlsocktype purpose)
{
    const struct http *http = owner;
    (void)purpose;
    /* A kernel that refuses keeps its own choice, which is safe too. */
    if (http->socket_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &http->socket_buffer, sizeof http->socket_buffer);
    return CURL_SOCKOPT_OK;
}

CURL *http_easy_new(const struct http *http)
{
    CURL *easy = http_must_have(curl_easy_init());
    for (size_t i = 0; i < sizeof constant / sizeof *constant; i++)
        SET(easy, constant[i].option, constant[i].value);
    SET(easy, CURLOPT_PROTOCOLS_STR, http->plain_http ? "https,http" : "https");
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_timeout_ms);
    SET(easy, CURLOPT_PROXY, http->proxy ? http->proxy : "");
    SET(easy, CURLOPT_UNIX_SOCKET_PATH, http->unix_socket);
    SET(easy, CURLOPT_USERAGENT, "sluice");
    SET(easy, CURLOPT_SHARE, http->share);
    SET(easy, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    SET(easy, CURLOPT_SOCKOPTDATA, http);
    /* A directory of certificates would switch off curl's cache of the parsed bundle. */
    SET(easy, CURLOPT_CAPATH, NULL);
    if (http->ca_file)
        SET(easy, CURLOPT_CAINFO, http->ca_file);
    SET(easy, CURLOPT_WRITEFUNCTION, http_call_body);
    SET(easy, CURLOPT_HEADERFUNCTION, http_call_header);
    SET(easy, CURLOPT_READFUNCTION, http_call_send);
    SET(easy, CURLOPT_SEEKFUNCTION, http_call_seek);
    return easy;
}

static bool has_body(const char *method)
{
    return strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0 ||
           strcmp(method, "PATCH") == 0;
}

static void set_method(CURL *easy, const struct http_req *req)
{
    bool head = strcmp(req->method, "HEAD") == 0;
    /* Sets the direction back to "receive", whatever the handle did before. */
    SET(easy, CURLOPT_HTTPGET, 1L);
    if (head)
        SET(easy, CURLOPT_NOBODY, 1L);
    if (has_body(req->method)) {
        SET(easy, CURLOPT_UPLOAD, 1L);
        SET(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_len);
    }
    SET(easy, CURLOPT_CUSTOMREQUEST, head ? NULL : req->method);
}

void http_easy_prepare(CURL *easy, struct http_call *call)
{
    const struct http_req *req = call->req;
    size_t recv = req->recv_buffer ? req->recv_buffer : RECV_DEFAULT;
    size_t send = req->send_buffer ? req->send_buffer : SEND_DEFAULT;
    set_method(easy, req);
    SET(easy, CURLOPT_URL, req->url);
    SET(easy, CURLOPT_FRESH_CONNECT, 0L);
    SET(easy, CURLOPT_HTTPHEADER, call->headers);
    SET(easy, CURLOPT_BUFFERSIZE, (long)recv);
    SET(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)send);
    SET(easy, CURLOPT_ERRORBUFFER, call->error);
    SET(easy, CURLOPT_PRIVATE, call);
    SET(easy, CURLOPT_WRITEDATA, call);
    SET(easy, CURLOPT_HEADERDATA, call);
    SET(easy, CURLOPT_READDATA, call);
    SET(easy, CURLOPT_SEEKDATA, call);
}

void http_easy_forget(CURL *easy)
{
    SET(easy, CURLOPT_ERRORBUFFER, NULL);
    SET(easy, CURLOPT_HTTPHEADER, NULL);
    SET(easy, CURLOPT_PRIVATE, NULL);
}

/* ---- errors */

static const struct {
    CURLcode curl;
    enum err code;
} code_row[] = {
    { CURLE_OK, OK },
    { CURLE_COULDNT_RESOLVE_HOST, ERR_RESOLVE },
    { CURLE_COULDNT_RESOLVE_PROXY, ERR_RESOLVE },
    { CURLE_COULDNT_CONNECT, ERR_CONNECT },
    { CURLE_INTERFACE_FAILED, ERR_CONNECT },
    { CURLE_PROXY, ERR_CONNECT },
    { CURLE_OPERATION_TIMEDOUT, ERR_CONNECT }, /* the only timeout left to curl */
    { CURLE_SSL_CONNECT_ERROR, ERR_TLS },
    { CURLE_PEER_FAILED_VERIFICATION, ERR_TLS },
    { CURLE_SSL_CERTPROBLEM, ERR_TLS },
    { CURLE_SSL_CIPHER, ERR_TLS },
    { CURLE_SSL_CACERT_BADFILE, ERR_TLS },
    { CURLE_SSL_ISSUER_ERROR, ERR_TLS },
    { CURLE_SSL_INVALIDCERTSTATUS, ERR_TLS },
    { CURLE_UNSUPPORTED_PROTOCOL, ERR_BAD_RESPONSE }, /* HTTP/0.9, 1.2: the URL was checked */
    { CURLE_WEIRD_SERVER_REPLY, ERR_BAD_RESPONSE },
    { CURLE_URL_MALFORMAT, ERR_ARGUMENT },
    { CURLE_LOGIN_DENIED, ERR_ARGUMENT }, /* user name in the URL */
    { CURLE_BAD_FUNCTION_ARGUMENT, ERR_BUG },
};

/* What is not in the table happened to a connection that had been made. */
enum err http_easy_err(CURLcode curl)
{
    for (size_t i = 0; i < sizeof code_row / sizeof *code_row; i++)
        if (code_row[i].curl == curl)
            return code_row[i].code;
    return ERR_CUT;
}
