import sys
sys.path.insert(0,"/work/main/tests/flow")
from test_recovery import *

def test_dbg(world, sim, sluiced, redis):
    stuck, other = world.dataset(), world.dataset()
    for number in range(3):
        stuck.batch([1000] * 130, batch_id=f"STUCK{number}")
    sim.start()
    sim.arm("hang:times=0,endpoint=content,match=STUCK")
    daemon = sluiced(aep={"window_start": 250}, transfer={"batches": 2},
                     queue={"max_open_files": 20}, log={"level":"debug"})
    daemon.start()
    wait_until(lambda: int(redis.command("SCARD", f"sluice:open-files:{stuck.id}")) >= 20, 20)
    time.sleep(1)
    mine = other.batch([500], created=now_ms())
    sim.add(mine)
    time.sleep(12)
    print(redis.command("FCALL_RO","sluice_stat",1,"sluice:"))
    print(redis.command("KEYS","sluice:ready:*"), redis.command("KEYS","sluice:lease:*"), redis.command("ZRANGE","sluice:delayed",0,-1,"WITHSCORES"), redis.command("TIME"))
    for k in redis.command("--scan","--pattern","sluice:t:b/*").split()+redis.command("--scan","--pattern","sluice:t:tail/*").split(): print(k, redis.command("HGETALL",k).split("\n"))
    print("\n".join(l[:200] for l in daemon.log.read_text().splitlines() if " f/" not in l))
    assert 0
