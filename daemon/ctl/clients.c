/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AEP and the store for commands that only read. There is no probe, because it writes: whether
 * the store knows checksums shows in each answer, so they are always asked for.
 */
#include <string.h>

#include "daemon/ctl/ctl.h"
#include "daemon/tenant.h"
#include "lib/base/encode.h"

#define CONNECT_MS 10000
#define AEP_CALLS  4

static void make_aep(struct ctl_clients *clients, const struct ctl *ctl)
{
    const struct settings *settings = &ctl->settings;
    struct http_options http = { .ca_file = settings->aep.ca_file,
                                 .proxy = settings->aep.proxy,
                                 .plain_http = true,
                                 .max_connections = AEP_CALLS,
                                 .connect_timeout_ms = CONNECT_MS };
    struct aep_options options = tenant_options(settings);
    options.window_start = options.window_max = AEP_CALLS;
    clients->api = http_new(ctl->loop, &http);
    clients->data = http_new(ctl->loop, &http);
    clients->aep = aep_new(ctl->loop, clients->api, clients->data, &options);
}

static void make_s3(struct ctl_clients *clients, const struct ctl *ctl, size_t calls)
{
    const struct settings *settings = &ctl->settings;
    struct http_options http = { .ca_file = settings->s3.ca_file,
                                 .proxy = settings->s3.proxy,
                                 .plain_http = true,
                                 .max_connections = calls,
                                 .connect_timeout_ms = CONNECT_MS };
    clients->options =
        (struct s3_options){ .endpoint = settings->s3.endpoint,
                             .region = settings->s3.region,
                             .bucket = settings->s3.bucket,
                             .path_style = settings->s3.addressing == ADDRESSING_PATH,
                             .payload = S3_PAYLOAD_SIGNED,
                             .credentials = &clients->credentials,
                             .traits.checks_crc32c = true };
    clients->store = http_new(ctl->loop, &http);
    clients->s3 = s3_new(ctl->loop, clients->store, &clients->options);
}

enum err ctl_clients_init_aep(struct ctl_clients *clients, struct ctl *ctl, struct fault *fault)
{
    *clients = (struct ctl_clients){ 0 };
    enum err err = tenant_check_secrets(&ctl->settings, fault);
    if (!err)
        make_aep(clients, ctl);
    return err;
}

const struct dataset_settings *ctl_configured(const struct ctl *ctl, const char *name)
{
    for (size_t i = 0; i < ctl->settings.datasets; i++)
        if (strcmp(ctl->settings.dataset[i].as, name) == 0)
            return &ctl->settings.dataset[i];
    return settings_dataset(&ctl->settings, name);
}

enum err ctl_generation(const char *text, int64_t *ret, struct fault *fault)
{
    uint64_t number;
    if (parse_u64(text, INT64_MAX, &number) || number == 0)
        return fault_set(fault, ERR_ARGUMENT,
                         "%.40s is no generation: want the number that the replay was answered "
                         "with, like 1764534000000",
                         text);
    *ret = (int64_t)number;
    return OK;
}

enum err ctl_clients_init(struct ctl_clients *clients, struct ctl *ctl, size_t calls,
                          struct fault *fault)
{
    const struct settings *settings = &ctl->settings;
    enum err err = ctl_clients_init_aep(clients, ctl, fault);
    if (!err)
        err = s3_credentials_load(settings->s3.credentials_file, settings->s3.profile,
                                  &clients->credentials, fault);
    if (err)
        return err;
    make_s3(clients, ctl, calls);
    return OK;
}

void ctl_clients_release(struct ctl_clients *clients)
{
    s3_free(clients->s3);
    aep_free(clients->aep);
    http_free(clients->store);
    http_free(clients->data);
    http_free(clients->api);
    s3_credentials_release(&clients->credentials);
}
